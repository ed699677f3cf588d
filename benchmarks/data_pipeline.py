"""Clips a second of the input pipeline, beside a straightforward one, from JPEG sequences of 1280 x 720.

    python -m benchmarks.data_pipeline --sequences otb_mini --photos photos
    python -m benchmarks.data_pipeline ... --memory 10000      # resident memory while that many clips are read

The straightforward pipeline decodes each frame whole with OpenCV, then crops and resizes. All draw the same clips with
the same threads, in turn, and their crops are compared. `folder` reads the frames as they are; `tiled` reads them with
the restart markers that `relo data build` adds without loss (needs jpegtran).

What a decoder saves depends on the picture, so there are two kinds of sequences: `enlarged` are the given ones brought
to 1280 x 720 (smooth, like an enlarged video); `mosaic` pans over photographs side by side (full of detail).
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks import common
from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips.pipeline import batches
from relo_jax.data.clips.plan import clip_rng, plan_clip
from relo_jax.data.clips.read import Crop, augment_crops, decode_frame
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets.folder import SequenceFolder, read_folder
from relo_jax.data.records import tiled_jpeg
from relo_jax.data.sequence import Sequence
from relo_jax.geometry.crop import crop_host
from relo_jax.media.images import list_images

WIDTH, HEIGHT = 1280, 720
# Colour at half the resolution, as in videos and in the files of the data sets; OpenCV's default keeps all of it.
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
CUBIC = cv2.INTER_CUBIC
OPTIONS = ClipOptions(templates=2, frames=8, template_size=128, search_size=256)
BATCH = 4


class Straightforward(ClipSource):
    """The same clips, each crop from its own whole frame."""

    def draw(self, rng: np.random.Generator, sequence: Sequence) -> dict[str, np.ndarray]:
        plan = plan_clip(rng, sequence, self.options)
        rows = zip(plan.frames.tolist(), plan.crop_center_xywh, plan.factor.tolist(), plan.size.tolist(), strict=True)
        return augment_crops(plan, [self._crop(sequence, *row) for row in rows])

    def _crop(self, sequence, frame, center_xywh, factor, size):
        image = cv2.cvtColor(cv2.imread(sequence.where(frame)), cv2.COLOR_BGR2RGB)
        return Crop(*crop_host(image, center_xywh, factor, size), image.shape[:2])


def write_sequence(folder: Path, frames: Iterable[np.ndarray], boxes: np.ndarray) -> None:
    """Writes a sequence of BGR frames as `folder.read_folder` reads it."""
    (folder / "img").mkdir(parents=True)
    for k, image in enumerate(frames):
        cv2.imwrite(str(folder / "img" / f"{k + 1:08d}.jpg"), image, JPEG)
    np.savetxt(folder / "groundtruth.txt", boxes, "%.2f", ",")


def enlarge(sequences: SequenceFolder, out: Path, length: int) -> None:
    """Writes real sequences at 1280 x 720."""
    for sequence in sequences.sequences:
        frames = range(min(length, len(sequence)))
        height, width = sequence.read_frame(0).shape[:2]
        read = sequence.read_frame
        large = lambda k, read=read: cv2.resize(read(k)[..., ::-1], (WIDTH, HEIGHT), interpolation=CUBIC)
        boxes = sequence.boxes_xywh[: len(frames)] * (np.array([WIDTH, HEIGHT] * 2) / ([width, height] * 2))
        write_sequence(out / sequence.name, map(large, frames), boxes)


def mosaics(photos: list[Path], out: Path, length: int, count: int) -> None:
    """Writes pans over photographs side by side. The target, another photograph of 40 to 300 pixels, crosses them."""
    for number in range(count):
        rng = np.random.default_rng(number)
        tiles = [cv2.resize(cv2.imread(str(p)), (320, 240)) for p in rng.choice(photos, 25, replace=False)]
        ground = np.vstack([np.hstack(tiles[5 * k : 5 * k + 5]) for k in range(5)])
        size = np.exp(rng.uniform(np.log(40), np.log(300), 2)).round().astype(int)
        target = cv2.resize(cv2.imread(str(rng.choice(photos))), size)
        share = np.linspace(0, 1, length)[:, None]
        start, end = rng.uniform(0, (WIDTH, HEIGHT) - size, (2, 2))
        corners = (start + share * (end - start)).round().astype(int)
        origins = (share * (np.array(ground.shape[1::-1]) - (WIDTH, HEIGHT))).round().astype(int)

        def frame(k, ground=ground, target=target, corners=corners, origins=origins, size=size):
            (x, y), (left, top) = corners[k], origins[k]
            image = ground[top : top + HEIGHT, left : left + WIDTH].copy()
            image[y : y + size[1], x : x + size[0]] = target
            return image

        boxes = np.concatenate([corners, np.broadcast_to(size, (length, 2))], 1)
        write_sequence(out / f"mosaic{number}", map(frame, range(length)), boxes)


def clips_per_second(sources: dict[str, ClipSource], threads: int, clips: int, rounds: int) -> dict[str, float]:
    """Rate of each source, the median over rounds. The sources are read in turn."""
    rates: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(rounds):
        for name, source in sources.items():
            iterator = batches(source, BATCH, threads).starting_at(turn * clips // BATCH)
            next(iterator)
            start = time.perf_counter()
            for _ in range(clips // BATCH):
                next(iterator)
            rates[name].append(clips / (time.perf_counter() - start))
            iterator.close()
    return {name: statistics.median(rate) for name, rate in rates.items()}


def tile(folder: Path, out: Path) -> None:
    """Copies the sequences, with frames in tiles."""
    shutil.copytree(folder, out)
    for path in out.glob("*/img/*.jpg"):
        path.write_bytes(tiled_jpeg.add_restarts(path.read_bytes()))


def differences(source: ClipSource, plain: ClipSource, clips: int) -> dict[str, float]:
    """Absolute difference of the crops in grey levels: the mean over all, and the 95th percentile of a crop's mean."""
    each = []
    for index in range(clips):
        a, b = source[index], plain[index]
        for kind in ("template_images", "search_images"):
            each += np.abs(a[kind].astype(np.int16) - b[kind]).mean((1, 2, 3)).tolist()
    return {"mean": round(float(np.mean(each)), 3), "p95": round(float(np.percentile(each, 95)), 3)}


def decoded_at(source: ClipSource, clips: int) -> dict[str, float]:
    """Share of the frames that are decoded at each fraction of their size."""
    counts: Counter[str] = Counter()
    for index in range(clips):
        rng = clip_rng(source.seed, index)
        sequence = source.pick(rng, index)[1]
        plan = plan_clip(rng, sequence, source.options)
        for frame in np.unique(plan.frames).tolist():
            picture = decode_frame(plan, frame, sequence.read_encoded(frame), sequence.where(frame))
            counts[f"1/{picture.reduce}"] += 1
    return {name: round(count / counts.total(), 3) for name, count in sorted(counts.items())}


def measure(kind: str, folder: Path, args: argparse.Namespace) -> None:
    """Records a row for one kind of sequences."""
    tiled = folder.with_name(f"{kind}-tiled")
    tile(folder, tiled)
    parts = {name: [MixturePart(kind, read_folder(f, cache=0))] for name, f in (("folder", folder), ("tiled", tiled))}
    sources = {name: ClipSource(part, OPTIONS, 0) for name, part in parts.items()}
    sources["straightforward"] = plain = Straightforward(parts["folder"], OPTIONS, 0)
    kib = lambda f: round(statistics.mean(p.stat().st_size for p in f.glob("*/img/*.jpg")) / 1024, 1)
    row = {
        "sequences": kind,
        "kib_a_frame": {"folder": kib(folder), "tiled": kib(tiled)},
        "clip": "T=8, 2 templates, 256/128 px, frames 1280x720",
        "decoded_at": decoded_at(sources["folder"], 50),
        "grey_levels_apart": {name: differences(sources[name], plain, args.clips) for name in parts},
    }
    for threads in (1, 2):
        rates = clips_per_second(sources, threads, args.clips, args.rounds)
        row[f"workers_{threads}"] = {
            **{f"{name}_clips_per_second": round(rate, 2) for name, rate in rates.items()},
            **{f"{name}_ratio": round(rates[name] / rates["straightforward"], 2) for name in parts},
        }
    common.record("data_pipeline", row)


def measure_memory(folders: list[Path], clips: int) -> None:
    """Records a row with the curve of resident memory, at each hundredth of the clips."""
    parts = [MixturePart(folder.name, read_folder(folder, cache=0)) for folder in folders]
    process, resident = psutil.Process(), []
    iterator = batches(ClipSource(parts, OPTIONS, 0), BATCH, 2).starting_at(0)
    start = time.perf_counter()
    for number in range(0, clips, BATCH):
        next(iterator)
        if number % (clips // 100) < BATCH:
            resident.append(round(process.memory_info().rss / 2**20, 1))
    rate = clips / (time.perf_counter() - start)
    iterator.close()
    late = resident[len(resident) // 4 :]
    row = {
        "memory_of_clips": clips, "clips_per_second": round(rate, 2), "mib_first": resident[0], "mib_last": late[-1],
        "mib_growth_after_first_quarter": round(late[-1] - late[0], 1), "mib_largest": max(resident),
        "mib_every_hundredth": resident,
    }  # fmt: skip
    common.record("data_pipeline", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=Path, required=True, help="folder of sequences")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--clips", type=int, default=80, help="clips of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=60, help="frames of each sequence that is made")
    parser.add_argument("--memory", type=int, default=0, metavar="CLIPS", help="measure resident memory instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kinds = {name: Path(temporary) / name for name in ("enlarged", "mosaic")}
        enlarge(read_folder(args.sequences), kinds["enlarged"], args.frames)
        mosaics(list_images(args.photos), kinds["mosaic"], args.frames, 8)
        if args.memory:
            measure_memory(list(kinds.values()), args.memory)
            return
        for kind, folder in kinds.items():
            measure(kind, folder, args)


if __name__ == "__main__":
    main()
