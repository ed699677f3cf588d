"""Tracking in chunks: the device goes through C frames by itself, while the next C are being decoded.

Three things happen at once: a thread reads chunk k + 2, the device tracks chunk k + 1, and the results of chunk k are
handed out. So no more than three chunks of frames are in memory, however long the video is.
"""

from concurrent.futures import ThreadPoolExecutor

from relo_jax.checks import check_frame


def in_chunks(tracker, frames, length):
    """Tracks through frames, `length` at a time.

    Args:
      tracker: `Tracker`, after `init`.
      frames: iterator of uint8 `[H, W, 3]`; from here on it is asked for frames by another thread.
      length: C.

    Yields:
      (frame, Result). What reading a frame raises is raised here, after the results of the frames before it.
    """
    with ThreadPoolExecutor(1) as pool:
        reading, under_way = pool.submit(_read, frames, length), None
        while reading is not None:
            chunk, error = reading.result()
            over = error is not None or len(chunk) < length
            reading = None if over else pool.submit(_read, frames, length)
            answers = tracker.update_chunk(chunk, length) if chunk else None
            if under_way is not None:
                yield from _finished(*under_way)
            under_way = (chunk, answers) if chunk else None
        if under_way is not None:
            yield from _finished(*under_way)
        if error is not None:
            raise error


def _read(frames, length):
    """The next frames, fewer at the end, and what went wrong after them (None: nothing)."""
    chunk = []
    try:
        for frame in frames:
            check_frame(frame)
            chunk.append(frame)
            if len(chunk) == length:
                break
    except Exception as error:  # of the iterator's, whatever it is: handed over to whoever asked for frames
        return chunk, error
    return chunk, None


def _finished(chunk, answers):
    return zip(chunk, answers(), strict=True)
