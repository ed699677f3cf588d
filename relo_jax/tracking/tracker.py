"""The tracker: a video's first box in, a box a frame out (the release, "Inference").

    tracker = Tracker.from_pretrained("starter")           # compiles here, not at the first frame
    tracker.init(frame, (x, y, w, h))
    result = tracker.update(next_frame)                    # result.box, result.score, result.found

`MultiTracker` does the same for several targets of one video. `track.track` goes through a whole video with either.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.tracking.result import Look, Result
from relo_jax.tracking.targets import Box, VideoTargets

__all__ = ["Look", "MultiTracker", "Result", "Tracker"]


class Tracker(VideoTargets):
    """Follows one target through one video at a time; `init` begins a new one, with nothing left of the last.

    Args:
      model: the network.
      variables: its variables.
      options: fields of the config's section "tracker": `window_power`, k of `hann_window`; `update_interval`, frames
        between template updates (0: never; needs a model of two template slots); `update_threshold`, response above
        which the template is updated; `found_threshold`, below which a score is low; `found_frames`, low scores in a
        row until the target counts as lost, and others in a row until it counts as found again.
      device_crops: whether the device cuts the crops, so that a frame is one dispatch. None does so except on a CPU,
        where OpenCV is faster. The boxes are the same.
      patches: whether only patches around the target go to the device where they suffice, and whole frames where they
        do not. None does so except on a CPU, where nothing is to be gained. The boxes are the same.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(
        self,
        model: RELO,
        variables: dict,
        options: dict | None = None,
        device_crops: bool | None = None,
        patches: bool | None = None,
    ):
        super().__init__(model, variables, 1, options, device_crops, patches)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = "starter",
        *,
        sizes: Sequence[tuple[int, int]] = (),
        dtype: str | None = None,
        **overrides: float,
    ) -> "Tracker":
        """A tracker from a checkpoint, with the options that came with it.

        Args:
          path: what `relo_jax.checkpoint.load` takes: run directory, checkpoint, `.pth.tar`, "starter".
          sizes: (height, width) of frames to expect; `init` compiles for any other size.
          dtype: what to compute in, "float32" or "bfloat16"; None: the checkpoint's.
          **overrides: options to replace, such as `window_power=2.0`.

        Raises:
          UserError: the checkpoint cannot be loaded or has no trained policy; an unknown dtype or option.
        """
        return cls(*cls._load(path, dtype, overrides))._prepared_for(sizes, path)

    def init(self, frame: np.ndarray, box_xywh: Box) -> None:
        """Begins a video.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          box_xywh: the target in it, pixels.

        Raises:
          UserError: the frame is not a uint8 RGB array, or the box has no area or does not touch the frame.
        """
        self._init(frame, [box_xywh])

    def update(self, frame: np.ndarray) -> Result:
        """Finds the target in the next frame.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.

        Raises:
          UserError: the frame is not a uint8 RGB array, `init` was not called, or the network's box is not finite.
        """
        return self._update(frame)[0]

    def look(self, frame: np.ndarray) -> Look:
        """`update`, with the policy over the search region: the same box, at the cost of a second pass.

            look = tracker.look(frame)
            look.box, look.policy.max(), look.entropy, look.region

        It compiles when it is called first; `update` and `look` may alternate.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.

        Raises:
          UserError: see `update`.
        """
        return self._look(frame)[0]

    def update_chunk(self, frames: Sequence[np.ndarray], length: int | None = None) -> Callable[[], Iterator[Result]]:
        """Finds the target in several frames by one dispatch, and does not wait for it.

        Args:
          frames: uint8 `[H, W, 3]`, RGB; sizes may differ.
          length: C, frames that the compiled program takes; None: the number of frames. A shorter chunk is padded to
            it.

        Returns:
          a function that waits for the device and yields a Result a frame. It raises UserError where the network's box
          is not finite.

        Raises:
          UserError: `init` was not called, or a frame is not a uint8 RGB array.
        """
        answers = self._update_chunk(frames, length)
        return lambda: (results[0] for results in answers())


class MultiTracker(VideoTargets):
    """Follows K targets through one video: one batch on the device, one dispatch a frame.

    Each target's boxes are those that `Tracker` gives for it alone; the targets know nothing of each other.

        tracker = MultiTracker.from_pretrained("starter", targets=2)
        tracker.init(frame, [(x, y, w, h), (x, y, w, h)])
        first, second = tracker.update(next_frame)

    Args:
      targets: K.
      the others: see `Tracker`.

    Raises:
      UserError: see `Tracker`; less than one target.
    """

    def __init__(
        self,
        model: RELO,
        variables: dict,
        targets: int,
        options: dict | None = None,
        device_crops: bool | None = None,
        patches: bool | None = None,
    ):
        if isinstance(targets, bool) or not isinstance(targets, int) or targets < 1:
            raise UserError(f"targets is {targets!r}: give the number of targets, at least 1")
        super().__init__(model, variables, targets, options, device_crops, patches)

    def __len__(self) -> int:
        return self._count

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = "starter",
        *,
        targets: int,
        sizes: Sequence[tuple[int, int]] = (),
        dtype: str | None = None,
        **overrides: float,
    ) -> "MultiTracker":
        """See `Tracker.from_pretrained`; targets is K."""
        model, variables, options = cls._load(path, dtype, overrides)
        return cls(model, variables, targets, options)._prepared_for(sizes, path)

    def init(self, frame: np.ndarray, boxes_xywh: Sequence[Box]) -> None:
        """Begins a video.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          boxes_xywh: K boxes of the targets in it, pixels.

        Raises:
          UserError: see `Tracker.init`; the number of boxes is not K.
        """
        if not isinstance(boxes_xywh, Sequence | np.ndarray) or len(boxes_xywh) != self._count:
            raise UserError(f"boxes are {boxes_xywh!r}: give {self._count} boxes x, y, w, h, as many as targets")
        self._init(frame, boxes_xywh)

    def init_one(self, index: int, frame: np.ndarray, box_xywh: Box) -> None:
        """Begins anew with target `index` (0 to K - 1); the others go on."""
        self._check_begun("init_one")
        if index not in range(self._count):
            raise UserError(f"target {index!r} is not one of 0 to {self._count - 1}")
        self._init_one(index, frame, box_xywh)

    def update(self, frame: np.ndarray) -> list[Result]:
        """Finds the targets in the next frame: K Results in the order of `init`; see `Tracker.update`."""
        return self._update(frame)

    def look(self, frame: np.ndarray) -> list[Look]:
        """See `Tracker.look`; K Looks in the order of `init`."""
        return self._look(frame)

    def update_chunk(
        self, frames: Sequence[np.ndarray], length: int | None = None
    ) -> Callable[[], Iterator[list[Result]]]:
        """See `Tracker.update_chunk`; K Results a frame."""
        return self._update_chunk(frames, length)


def open_tracker(
    checkpoint: str | Path | Tracker | MultiTracker, targets: int | None = None, **options: Any
) -> Tracker | MultiTracker:
    """A `MultiTracker` of that many targets; a `Tracker` if targets is None. Arguments as of `from_pretrained`.

    A tracker in place of a checkpoint is returned itself. Raises UserError if it is for another number of targets, or
    if options are given, which it has already.
    """
    if isinstance(checkpoint, Tracker | MultiTracker):
        count = len(checkpoint) if isinstance(checkpoint, MultiTracker) else None
        if count != targets:
            wanted = "a Tracker" if targets is None else f"a MultiTracker of {targets} target{'s' * (targets != 1)}"
            had = "a Tracker" if count is None else f"a MultiTracker of {count} target{'s' * (count != 1)}"
            raise UserError(f"the boxes are for {wanted}, but {had} was given")
        if given := [name for name, value in options.items() if value is not None]:
            raise UserError(f"{', '.join(given)}: the tracker has its options already; give them where it is made")
        return checkpoint
    if targets is not None:
        return MultiTracker.from_pretrained(checkpoint, targets=targets, **options)
    return Tracker.from_pretrained(checkpoint, **options)
