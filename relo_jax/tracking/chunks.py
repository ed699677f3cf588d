"""Tracking in chunks: the device goes through C frames by itself, while the next C are being decoded.

Three things happen at once: a thread reads chunk k + 2, the device tracks chunk k + 1, and the results of chunk k are
handed out. So no more than three chunks of frames are in memory, however long the video is.

A chunk has C readable frames of one size; before a change of size it is shorter, and then goes frame by frame, since a
chunk that is filled up moves its target on.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from relo_jax.media.frames import Unreadable
from relo_jax.tracking.options import check_frame

_END = object()


@dataclass
class _Chunk:
    """What was read: frames and Unreadable. held: the next frame, of another size. error: what came after them."""

    items: list = field(default_factory=list)
    held: object = None
    error: Exception | None = None
    over: bool = False

    @property
    def frames(self):
        return [item for item in self.items if not isinstance(item, Unreadable)]


def in_chunks(tracker, frames, length, oddities, shown, results):
    """Tracks through frames, `length` at a time.

    Args:
      tracker: `Tracker` or `MultiTracker`, after `init`.
      frames: iterator of uint8 `[H, W, 3]` or Unreadable; from here on it is asked for them by another thread.
      length: C.
      oddities: `following.FrameWarnings`, for frames that are not like those before.
      shown, results: the first frame, and what there is of it.

    Yields:
      as `follow`. What reading a frame raises is raised here, after the results of the frames before it.
    """
    last = (shown, results)
    shape = shown.shape

    def hand_out(items, answers):
        nonlocal last
        for item in items:
            if isinstance(item, Unreadable):
                yield last[0], oddities.carry(item, last[1])
            else:
                last = (item, next(answers))
                yield last

    with ThreadPoolExecutor(1) as pool:
        reading, under_way = pool.submit(_read, frames, length, shape), None
        while reading is not None:
            chunk = reading.result()
            before, shape = shape, chunk.held.shape if chunk.held is not None else shape
            reading = None if chunk.over else pool.submit(_read, frames, length, shape, chunk.held)
            if chunk.held is None:
                answers = tracker.update_chunk(chunk.frames, length) if chunk.frames else lambda: iter(())
            if under_way is not None:
                yield from hand_out(under_way[0], under_way[1]())
            under_way = (chunk.items, answers) if chunk.held is None else None
            if chunk.held is not None:
                yield from hand_out(chunk.items, map(tracker.update, chunk.frames))
                oddities.fit(before, shape)
                tracker.prepare(*shape[:2], length)
        if under_way is not None:
            yield from hand_out(under_way[0], under_way[1]())
        if chunk.error is not None:
            raise chunk.error


def _read(frames, length, shape, held=None):
    """The next `length` frames of a shape, fewer at the end and before one of another; `held` comes before them."""
    chunk = _Chunk([] if held is None else [held])
    readable = len(chunk.items)
    try:
        while readable < length:
            frame = next(frames, _END)
            if frame is _END:
                chunk.over = True
                break
            if not isinstance(frame, Unreadable):
                check_frame(frame)
                if frame.shape != shape:
                    chunk.held = frame
                    break
                readable += 1
            chunk.items.append(frame)
    except Exception as error:  # of the iterator's, whatever it is: handed over to whoever asked for frames
        chunk.error, chunk.over = error, True
    return chunk
