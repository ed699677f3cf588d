"""A tracked video as a video: `relo_jax.render`, for notebooks."""

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from relo_jax.bars import tqdm
from relo_jax.errors import UserError
from relo_jax.media import player, video
from relo_jax.media.overlay import draw
from relo_jax.media.player import Video
from relo_jax.tracking.follow import follow, has_several_boxes
from relo_jax.tracking.targets import Box
from relo_jax.tracking.tracker import MultiTracker, Tracker, open_tracker


def render(
    source: str | Path | Iterable[np.ndarray],
    box: Box | Sequence[Box],
    checkpoint: str | Path | Tracker | MultiTracker = "starter",
    heatmap: bool = True,
    progress: bool = True,
    **options,
) -> Video:
    """Tracks through a video and draws boxes, scores and where the policy looked; a notebook plays the result.

        relo_jax.render(*relo_jax.example())
        relo_jax.render("in.mp4", (x, y, w, h)).save("out.mp4")

    Args:
      source: video file, folder of frames, or any iterable of uint8 RGB frames. It must have an end.
      box: x, y, w, h of the target in the first frame, in pixels; or a list of K boxes, for as many targets.
      checkpoint: see `Tracker.from_pretrained`; or a tracker, which begins anew and need not compile again.
      heatmap: whether to draw the policy over the search region (`Tracker.look`), which takes a second pass through the
        network.
      progress: whether to show a progress bar.
      **options: see `Tracker.from_pretrained`.

    Returns:
      the Video: H.264, each frame at its time in the source. Its file is deleted with it: `save` copies it.

    Raises:
      UserError: see `relo_jax.track`; the source is a camera or a stream.
    """
    path, folder = player.temporary_path()
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        with video.open_frames(source) as frames:
            if frames.live:
                raise UserError(f"{frames.name} has no end: render a file, or use relo_jax.track or relo track")
            tracker = open_tracker(checkpoint, len(box) if has_several_boxes(box) else None, **options)
            followed = follow(tracker, frames, box, ahead=frames.stored, look=heatmap)
            bar = tqdm(total=frames.count, unit=" frames", desc=Path(frames.name).name, disable=not progress)
            with bar, contextlib.closing(followed), video.write_video(path, frames.rate, frames.tick) as write:
                count = 0  # not the bar's, which counts nothing where it is not shown
                for count, (frame, result) in enumerate(followed, start=1):
                    write(draw(frame, result), seconds=None if frames.tick is None else frames.time_of(count - 1))
                    bar.update()
                if not count:
                    raise UserError(f"{frames.name} has no frames")
        undo.pop_all()
    return Video(path, folder)
