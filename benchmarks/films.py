"""The README's two films, as animated WebP, which every browser shows where it shows a picture.

    python -m benchmarks.films track     # docs/images/track.webp: the starter on the example clip, and where it looks
    python -m benchmarks.films belief    # docs/images/belief.webp: a policy over its first 40 updates

`track` is `relo track --example --heatmap`, every second frame. `belief` runs the demo's RL stage (`relo demo`, seed 0)
from the tiny starter's warm-up for 40 of its 50 updates, and asks the policy after each of them about the same frames,
which no training uses: one of the example "walk", three of the sequences that evaluate the demo, and for the curve
`CURVE_FRAMES` frames of all of those. Search regions are cut off-centre, so that looking at the middle does not pay.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from relo_jax import RELO, example
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.data.sequence import Sequence
from relo_jax.geometry.crop import SEARCH_FACTOR, TEMPLATE_FACTOR, box_to_crop_norm, crop_host
from relo_jax.media import video
from relo_jax.media.overlay import draw, draw_policy
from relo_jax.study import demo
from relo_jax.study.held_out import FRAMES, SEQUENCES, held_out_sequences
from relo_jax.tracking.follow import follow
from relo_jax.tracking.tracker import Tracker
from relo_jax.train.callbacks import StopTraining
from relo_jax.train.loop import train_and_evaluate

FOLDER = Path(__file__).parents[1] / "docs" / "images"
UPDATES, ALL_UPDATES = 40, 50  # shown; of the demo
CURVE_FRAMES = (10, 20, 30, 40)
SHOWN = ((0, 1), (3, 1), (13, 0), (11, 0))  # of the film: sequence, counted from the example, and place in CURVE_FRAMES
SHIFT = 0.9  # of the region's centre from the target's, in sides of a square as large as the target
PANEL, MARGIN = 216, 8  # pixels
BACKGROUND, INK, FAINT, GLOW = "#10131a", "#e6e9ef", "#8b93a3", "#fca50a"


def write_webp(path: Path, frames: list[np.ndarray], milliseconds: int | list[int], quality: int) -> None:
    """Writes frames, uint8 RGB of one size, as an animation that repeats; prints its size."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(
        path, save_all=True, append_images=others, duration=milliseconds, loop=0, quality=quality, method=6
    )  # fmt: skip
    height, width = frames[0].shape[:2]
    print(f"{path}: {len(frames)} frames of {width} x {height} pixels, {path.stat().st_size / 1e6:.2f} MB")


def track() -> list[np.ndarray]:
    """Every second frame of the example clip, with the starter's boxes and policy drawn in."""
    path, box = example()
    with video.open_frames(path) as frames:
        shown = [draw(frame, result) for frame, result in follow(Tracker.from_pretrained(), frames, box, look=True)]
    return shown[1::2]


def walk() -> Sequence:
    """The example "walk" with the starter's boxes in place of a ground truth."""
    path, box = example("walk")
    with video.open_frames(path) as frames:
        images, results = zip(*follow(Tracker.from_pretrained(), frames, box), strict=True)
    boxes = np.array([result.box for result in results])
    return Sequence("walk", boxes, np.ones(len(boxes), bool), lambda index: images[index])


def clip_of(sequence: Sequence, number: int, config) -> dict[str, np.ndarray]:
    """The frames `CURVE_FRAMES` of a sequence as a clip, teacher-forced.

    Args:
      number: of the sequence; the search regions are shifted in a direction that depends on it.
      config: of the model.

    Returns:
      template and its box, the crops, the regions x, y, side in pixels and the targets' boxes in them, from 0 to 1.
    """
    first = sequence.boxes_xywh[0]
    template, factor = crop_host(sequence.read_frame(0), first, TEMPLATE_FACTOR, config.template_size)
    crops, regions, targets = [], [], []
    for t in CURVE_FRAMES:
        x, y, w, h = box = sequence.boxes_xywh[t]
        angle, unit = 2.4 * (number + t), SHIFT * (w * h) ** 0.5
        around = x + unit * np.cos(angle), y + unit * np.sin(angle), w, h
        crop, factor_t = crop_host(sequence.read_frame(t), around, SEARCH_FACTOR, config.search_size)
        side = config.search_size / factor_t
        left, top = around[0] + w / 2 - side / 2, around[1] + h / 2 - side / 2
        crops.append(crop)
        regions.append((left, top, side))
        targets.append(((box[0] - left) / side, (box[1] - top) / side, w / side, h / side))
    return {
        "template": template, "box": box_to_crop_norm(first, first, factor, config.template_size).astype(np.float32),
        "crops": np.stack(crops), "regions": np.array(regions), "targets": np.array(targets),
    }  # fmt: skip


def policies(clips: dict[str, np.ndarray]) -> np.ndarray:
    """Trains, and gives the policy over all frames of B clips before the first and after each update.

    Returns:
      `[UPDATES + 1, B, T, g, g]`, probabilities.
    """
    config = demo.stage_config("rl", 0, ALL_UPDATES, "starter-warmup")
    config.log_every = config.checkpoint_every = 1
    config.eval_every = ALL_UPDATES
    config.keep_checkpoints = UPDATES
    model = RELO.from_config(config.model)

    @jax.jit
    def look(variables: dict, template: jax.Array, box: jax.Array, crops: jax.Array) -> jax.Array:
        def function(module: RELO) -> jax.Array:
            templates = module.encode_templates(template[:, None], box[:, None])
            return module.policy_logits(module.encode_clip(templates, crops)[0])

        return jax.nn.softmax(model.apply(variables, method=function), axis=-1)

    def stop(row: dict) -> None:
        if row["step"] >= UPDATES:
            raise StopTraining

    with tempfile.TemporaryDirectory() as folder:
        train_and_evaluate(config, folder, stop)
        later = [Path(folder) / run_directory.CHECKPOINTS / str(step) for step in range(1, UPDATES + 1)]
        loaded = [demo.policy_before(config), *map(checkpoint.load, later)]
        inputs = [clips[name] for name in ("template", "box", "crops")]
        probabilities = np.stack([look(one.variables, *inputs) for one in loaded])
    return probabilities.reshape(*probabilities.shape[:-1], model.config.grid, model.config.grid)


def on_target(policy: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Probability of the cells whose middle lies on the target: `[..., g, g]`, `[..., 4]` -> `[...]`."""
    middle = (np.arange(policy.shape[-1]) + 0.5) / policy.shape[-1]
    x, y, w, h = np.moveaxis(targets[..., None], -2, 0)
    across, down = ((middle >= at) & (middle <= at + size) for at, size in ((x, w), (y, h)))
    return (policy * (down[..., :, None] & across[..., None, :])).sum((-2, -1))


def belief() -> list[np.ndarray]:
    """The policy over four frames and its mean probability of the target, after each update."""
    sequences = [walk(), *held_out_sequences(SEQUENCES, FRAMES)]
    rows = [clip_of(sequence, k, RELO.from_variant("tiny").config) for k, sequence in enumerate(sequences)]
    clips = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    probabilities = policies(clips)
    held_out = on_target(probabilities, clips["targets"][None])[:, 1:].mean((1, 2))
    pictures = [panel(sequences[k], CURVE_FRAMES[t], clips["regions"][k, t]) for k, t in SHOWN]
    return [
        page(update, pictures, [probabilities[update, k, t] for k, t in SHOWN], held_out)
        for update in range(UPDATES + 1)
    ]


def panel(sequence: Sequence, index: int, region: np.ndarray) -> np.ndarray:
    """The search region x, y, side of a frame, as sharp as the frame is, with a margin for `draw_policy`'s outline."""
    x, y, side = region
    move = np.array([[side / PANEL, 0, x - MARGIN * side / PANEL], [0, side / PANEL, y - MARGIN * side / PANEL]])
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_AREA if side > 2 * PANEL else cv2.INTER_CUBIC)
    return cv2.warpAffine(sequence.read_frame(index), move, (PANEL + 2 * MARGIN, PANEL + 2 * MARGIN), None, flags)


def page(update: int, pictures: list[np.ndarray], policy: list[np.ndarray], held_out: np.ndarray) -> np.ndarray:
    """One frame of the film."""
    gap, bottom = 12, 118
    width = len(pictures) * (PANEL + gap) + gap
    height = PANEL + 2 * gap + bottom
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=BACKGROUND)
    axes = figure.add_axes((0.16, 0.24 * bottom / height, 0.80, 0.62 * bottom / height), facecolor="none")
    axes.plot(held_out[: update + 1], color=GLOW, linewidth=2, solid_capstyle="round")
    axes.plot(update, held_out[update], "o", color=GLOW, markersize=6)
    axes.set(xlim=(-0.5, UPDATES + 0.5), ylim=(0, 1), yticks=(0, 0.5, 1), xticks=range(0, UPDATES + 1, 10))
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    down = lambda y: 1 - (PANEL + 2 * gap + y) / height
    figure.text(gap / width, down(26), f"update {update}", color=INK, fontsize=13, fontweight="bold")
    figure.text(gap / width, down(52), "mean probability", color=FAINT, fontsize=8.5)
    figure.text(gap / width, down(66), "on the target", color=FAINT, fontsize=8.5)
    figure.text(gap / width, down(92), f"{held_out[update]:.2f}", color=GLOW, fontsize=15, fontweight="bold")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    out = np.array(canvas.buffer_rgba())[..., :3]
    for k, (picture, probabilities) in enumerate(zip(pictures, policy, strict=True)):
        drawn = draw_policy(picture, probabilities, (MARGIN - 3, MARGIN - 3, PANEL + 6, PANEL + 6))
        left = gap + k * (PANEL + gap)
        out[gap : gap + PANEL, left : left + PANEL] = drawn[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return out


def main() -> None:
    """Makes the films that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", nargs="+", choices=["track", "belief"])
    films = parser.parse_args().film
    if "track" in films:
        write_webp(FOLDER / "track.webp", track(), 74, quality=75)
    if "belief" in films:
        frames = belief()
        write_webp(FOLDER / "belief.webp", frames, [1000, *[140] * (len(frames) - 2), 3000], quality=85)


if __name__ == "__main__":
    main()
