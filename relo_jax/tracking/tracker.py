"""The tracker: a video's first box in, a box a frame out (the released system, "Inference").

    tracker = Tracker.from_pretrained("starter")           # compiles here, not at the first frame
    tracker.init(frame, (x, y, w, h))
    result = tracker.update(next_frame)                    # result.box, result.score, result.found

`MultiTracker` is the same for several targets; `track` goes through a whole video with either.
"""

import contextlib

from relo_jax.media import video
from relo_jax.tracking.follow import are_several, follow
from relo_jax.tracking.multi import MultiTracker
from relo_jax.tracking.targets import Result, Targets

__all__ = ["MultiTracker", "Result", "Tracker", "follow", "track"]


class Tracker(Targets):
    """Follows one target through one video at a time; `init` begins a new one, with nothing left of the last.

    Args:
      model: `RELO`.
      variables: its variables.
      options: fields of the config's section "tracker": `window_power`, k of `hann_window`; `update_interval`, frames
        between template updates (0: never; needs a model of two template slots); `update_threshold`, response above
        which the template is updated; `found_threshold`, score from which a result counts as found.
      device_crops: whether `update` cuts crops on the device, so that a frame is one dispatch; None does so but on a
        CPU, where OpenCV is the quicker one. The boxes are the same.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model, variables, options=None, device_crops=None):
        super().__init__(model, variables, 1, options, device_crops)

    @classmethod
    def from_pretrained(cls, path="starter", *, sizes=(), dtype=None, **overrides):
        """A tracker from a checkpoint, with the options that came with it.

        Args:
          path: what `relo_jax.checkpoint.load` takes: run directory, checkpoint, `.pth.tar`, "starter".
          sizes: (height, width) of frames to expect; what was not expected is compiled by `init`.
          dtype: what to compute in, "float32" or "bfloat16"; None is as the checkpoint says.
          **overrides: options to replace, such as `window_power=2.0`.

        Raises:
          UserError: the checkpoint cannot be loaded or was never taught where to look, or a dtype or an option does not
            exist.
        """
        tracker = cls(*cls._load(path, dtype, overrides))
        for height, width in sizes:
            tracker.prepare(height, width)
        return tracker

    def init(self, frame, box_xywh):
        """Begins a video.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.
          box_xywh: the target in it, pixels.

        Raises:
          UserError: the frame is none, or the box has no area or does not touch the frame.
        """
        self._init(frame, [box_xywh])

    def update(self, frame):
        """Finds the target in the next frame.

        Args:
          frame: uint8 `[H, W, 3]`, RGB.

        Returns:
          Result.

        Raises:
          UserError: the frame is none, `init` was not called, or the network says nothing finite.
        """
        return self._update(frame)[0]

    def update_chunk(self, frames, length=None):
        """Finds the target in several frames by one dispatch, and does not wait for it.

        Args:
          frames: list of uint8 `[H, W, 3]`, RGB; they may differ in size.
          length: C, frames that the compiled program takes; a chunk of fewer is padded to it, and is the last one
            then: what is padded moves the target on. None takes their number.

        Returns:
          a function that waits for the device and gives an iterator of a Result a frame, which raises UserError where
          the network says nothing finite.

        Raises:
          UserError: `init` was not called, or a frame is none.
        """
        answers = self._update_chunk(frames, length)
        return lambda: (results[0] for results in answers())


def track(source, box, checkpoint="starter", chunk=None, **options):
    """Tracks through a video; nothing but the frames at hand is kept.

        for result in relo_jax.track("in.mp4", box=(x, y, w, h)):
            print(result.box, result.score)

    Args:
      source: video file, folder of frames, camera index, address of a stream (`rtsp://...`), or any iterable of uint8
        RGB frames.
      box: x, y, w, h of the target in the first frame; or K of them, for as many targets.
      checkpoint: see `Tracker.from_pretrained`.
      chunk: frames that the device is given at a time. It does not wait for the host between them, so more frames a
        second, each of them later; None is frame by frame. The boxes are the same.
      **options: as there.

    Yields:
      Result, one a frame (a list of K for K boxes); the first frame's is the given box with score 1. A frame that
      cannot be read has one too, see `Result.carried`.

    Raises:
      UserError: see `video.open_frames` and `Tracker`; results of the frames before the bad one come first.
    """
    with video.open_frames(source) as frames:
        if are_several(box):
            tracker = MultiTracker.from_pretrained(checkpoint, targets=len(box), **options)
        else:
            tracker = Tracker.from_pretrained(checkpoint, **options)
        with contextlib.closing(follow(tracker, frames, box, None if frames.live else chunk)) as followed:
            for _, result in followed:
                yield result
