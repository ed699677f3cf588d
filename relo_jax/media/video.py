"""Videos in and out, one frame at a time: a film of two hours takes the memory of a few frames.

Frames are uint8 RGB `[H, W, 3]` wherever they come from. Files are decoded and encoded by FFmpeg (PyAV), pictures read
by OpenCV, whose BGR ends at this door; streams and cameras are in `relo_jax.media.streams`.
"""

import contextlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from relo_jax.errors import UserError
from relo_jax.files import atomic_write
from relo_jax.media import streams
from relo_jax.media.decode import open_file, reason
from relo_jax.media.frames import DEFAULT_RATE, Frames, Unreadable
from relo_jax.media.images import IMAGE_SUFFIXES, FrameError, list_images, read_image

# Of frames: passed over in silence they would shift all that come after.
_OTHER_PICTURES = {".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".pnm", ".exr", ".dng", ".raw"}
_CODEC = "libx264" if "libx264" in av.codecs_available else "mpeg4"
_CLOCK = Fraction(1, 1000)  # what times of frames are counted in, where they are given


@contextlib.contextmanager
def open_frames(source, timeout=streams.TIMEOUT, retries=streams.RETRIES):
    """Opens a video for reading, and closes it when the block is left.

        with open_frames("in.mp4") as frames:
            for frame in frames: ...

    Args:
      source: a video file, a folder of frames (or of `img/` with them; in the order of the numbers in their names), the
        index of a camera (0, or "0"), the address of a stream ("rtsp://...", "http://...", "udp://..."), or an iterable
        of uint8 RGB frames.
      timeout, retries: for cameras and addresses, see `relo_jax.media.streams`.

    Yields:
      Frames. A frame that cannot be read is an Unreadable in its place. Frames may change their size on the way.

    Raises:
      UserError: there is no such video, it cannot be read, or it is empty.
    """
    if isinstance(source, str) and streams.is_address(source):
        opened = streams.open_address(source, timeout, retries)
    elif isinstance(source, (str, Path)) and not (str(source).isdigit() and not Path(source).exists()):
        path = Path(source)
        try:
            path.stat()
        except FileNotFoundError:
            raise UserError(f"{path}: no such video or folder of frames") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        opened = _folder(path) if path.is_dir() else open_file(path, str(path))
    elif isinstance(source, (str, int, np.integer)):
        opened = streams.open_camera(int(source), timeout, retries)
    elif isinstance(source, Iterable):
        count = len(source) if hasattr(source, "__len__") else None
        opened = contextlib.nullcontext(Frames("frames", count, DEFAULT_RATE, iter(source)))
    else:
        raise UserError(f"{source!r} is no video: give a file, a folder of frames, a camera's index, or frames")
    with opened as frames:
        yield frames


@contextlib.contextmanager
def _folder(path):
    images, known = list_images(path), ", ".join(sorted(IMAGE_SUFFIXES))
    beside = images[0].parent if images else path
    if others := sorted(p.name for p in beside.iterdir() if p.suffix.lower() in _OTHER_PICTURES):
        more = f" and {len(others) - 1} more" if others[1:] else ""
        raise UserError(f"{path}: {others[0]}{more} cannot be read: convert to one of {known}, or take them away")
    if not images:
        raise UserError(f"{path} has no images in it ({known}): give a folder of frames, or a video file")
    yield Frames(str(path), len(images), DEFAULT_RATE, _read(images))


def _read(images):
    for image in images:
        try:
            yield read_image(image)
        except FrameError as error:
            yield Unreadable(str(error))


@contextlib.contextmanager
def write_video(path, rate=DEFAULT_RATE):
    """Writes a video, H.264 where FFmpeg has it and MPEG-4 otherwise; whole, or not at all when the block fails.

        with write_video("out.mp4", rate=25) as write:
            write(frame)

    Args:
      path: file; its suffix says the container (.mp4, .mkv, .mov, .avi). A file that is there is replaced at the end.
      rate: frames a second.

    Yields:
      a function that takes the next frame, uint8 RGB `[H, W, 3]`; those of another size than the first are scaled.
      With `seconds=` for all frames, each is shown at its time and not by the rate (but in AVI, which has no times).

    Raises:
      UserError: the suffix is of no known container, or the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        try:
            with av.open(str(unfinished), "w") as trial:  # not every container takes the codec
                trial.add_stream(_CODEC, rate=25)
            container = av.open(str(unfinished), "w")
        except ValueError as error:
            raise UserError(f"{path}: no video can be written to a file of that suffix: use .mp4") from error
        encoder = None
        try:
            with container:

                def write(frame, seconds=None):
                    nonlocal encoder
                    seconds = None if container.format.name == "avi" else seconds
                    encoder = encoder or _Encoder(container, rate, frame.shape, timed=seconds is not None)
                    container.mux(encoder.encode(frame, seconds))

                yield write
                if encoder is not None:
                    container.mux(encoder.stream.encode())
        except av.error.FFmpegError as error:
            raise UserError(f"{path} cannot be written: {reason(error)}") from error
        if encoder is None:
            raise UserError(f"{path} is not written: there was no frame")


class _Encoder:
    def __init__(self, container, rate, shape, timed):
        # MPEG-4 counts time in units of at most 1/65535 s.
        self.stream = stream = container.add_stream(_CODEC, rate=Fraction(rate).limit_denominator(60_000))
        stream.height, stream.width = (side + side % 2 for side in shape[:2])  # 4:2:0 colour needs even sides
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"} if _CODEC == "libx264" else {"qscale": "3"}
        if timed:
            stream.codec_context.time_base = _CLOCK
        self._last = -1

    def encode(self, frame, seconds):
        picture = av.VideoFrame.from_ndarray(_even(frame, self.stream), format="rgb24")
        if seconds is not None:
            picture.time_base = _CLOCK
            picture.pts = self._last = max(round(seconds / _CLOCK), self._last + 1)
        return self.stream.encode(picture)


def _even(frame, stream):
    """The frame at the stream's size: an odd side gets its last line twice."""
    height, width = frame.shape[:2]
    if (height + height % 2, width + width % 2) != (stream.height, stream.width):
        return cv2.resize(frame, (stream.width, stream.height))
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
