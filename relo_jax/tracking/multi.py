"""Several targets in one video: what `Tracker` is for one.

tracker = MultiTracker.from_pretrained("starter", targets=2)
tracker.init(frame, [(x, y, w, h), (x, y, w, h)])
first, second = tracker.update(next_frame)
"""

from relo_jax.errors import UserError
from relo_jax.tracking.targets import Targets


class MultiTracker(Targets):
    """Follows K targets through one video: one batch on the device, one dispatch a frame, the frame sent once.

    Each target's boxes are those that `Tracker` gives for it alone; the targets know nothing of each other.

    Args:
      targets: K.
      the others: see `Tracker`.

    Raises:
      UserError: as there, and when there is less than one target.
    """

    def __init__(self, model, variables, targets, options=None, device_crops=None):
        if isinstance(targets, bool) or not isinstance(targets, int) or targets < 1:
            raise UserError(f"targets is {targets!r}: give how many there are, at least 1")
        super().__init__(model, variables, targets, options, device_crops)

    @classmethod
    def from_pretrained(cls, path="starter", *, targets, sizes=(), dtype=None, **overrides):
        """See `Tracker.from_pretrained`; targets is K."""
        model, variables, options = cls._load(path, dtype, overrides)
        tracker = cls(model, variables, targets, options)
        for height, width in sizes:
            tracker.prepare(height, width)
        return tracker

    def init(self, frame, boxes_xywh):
        """Begins a video.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          boxes_xywh: K boxes of the targets in it, pixels.

        Raises:
          UserError: see `Tracker.init`; there are not K boxes.
        """
        if len(boxes_xywh) != self._count:
            raise UserError(f"boxes are {boxes_xywh!r}: give {self._count} boxes x, y, w, h, as many as targets")
        self._init(frame, boxes_xywh)

    def init_one(self, index, frame, box_xywh):
        """Begins anew with one target (0 to K - 1), where the others go on."""
        self._check_begun("init_one")
        if index not in range(self._count):
            raise UserError(f"target {index!r} is none of the {self._count}: they count from 0")
        self._init_one(index, frame, box_xywh)

    def update(self, frame):
        """Finds the targets in the next frame: a list of K Results, in the order of `init`; see `Tracker.update`."""
        return self._update(frame)

    def update_chunk(self, frames, length=None):
        """See `Tracker.update_chunk`: a list of K Results a frame."""
        return self._update_chunk(frames, length)
