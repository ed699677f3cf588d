"""Reads and writes videos frame by frame: a video of two hours takes the memory of a few frames.

Frames are uint8 RGB `[H, W, 3]`, wherever they come from. FFmpeg (PyAV) decodes and encodes files; OpenCV reads images,
and its BGR ends here. Cameras and addresses are in `relo_jax.media.streams`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sized
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from relo_jax.errors import UserError
from relo_jax.files import atomic_write
from relo_jax.media import streams
from relo_jax.media.decode import open_file
from relo_jax.media.frames import DEFAULT_RATE, Frames, Unreadable, warn
from relo_jax.media.images import IMAGE_SUFFIXES, FrameError, gaps, list_images, read_image, used_bits
from relo_jax.media.upright import ffmpeg_message

_CODEC = "libx264" if "libx264" in av.codecs_available else "mpeg4"
# Of x264, for frames of more than _LARGE pixels: it holds some twenty of them otherwise, for a file as large.
_LARGE, _FEW_FRAMES = 2**22, {"x264-params": "sync-lookahead=0:rc-lookahead=2:bframes=1:sliced-threads=1"}
_TIME_BASE = Fraction(1, 1000)  # of frames that are written with the times when they came

Source = str | Path | int | Iterable[np.ndarray]


@contextlib.contextmanager
def open_frames(source: Source, timeout: float = streams.TIMEOUT, retries: int = streams.RETRIES) -> Iterator[Frames]:
    """Opens a video for reading, and closes it at the end of the block.

        with open_frames("in.mp4") as frames:
            for frame in frames: ...

    Args:
      source: a video file; a folder of frames, or with frames in one of its `images.FRAME_FOLDERS`, in the order of
        the numbers in their names; the index of a camera (0 or "0"); the address of a stream ("rtsp://...", "http://...",
        "udp://..."); or an iterable of uint8 RGB frames.
      timeout, retries: for cameras and addresses, see `streams.open_address`.

    Yields:
      Frames. An Unreadable takes the place of a frame that cannot be read. Frames may change their size.

    Raises:
      UserError: the video does not exist, cannot be read or is empty.
    """
    opened: contextlib.AbstractContextManager[Frames]
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
        opened = _open_folder(path) if path.is_dir() else open_file(path, str(path))
    elif isinstance(source, (str, int, np.integer)):
        opened = streams.open_camera(int(source), timeout, retries)
    elif isinstance(source, Iterable):
        count = len(source) if isinstance(source, Sized) else None
        opened = contextlib.nullcontext(Frames("frames", count, DEFAULT_RATE, iter(source)))
    else:
        raise UserError(f"{source!r} is not a video: give a file, a folder of frames, a camera's index, or frames")
    with opened as frames:
        yield frames


@contextlib.contextmanager
def _open_folder(path: Path) -> Iterator[Frames]:
    images, known = list_images(path), ", ".join(sorted(IMAGE_SUFFIXES))
    if not images:
        raise UserError(f"{path} has no images ({known}): give a folder of frames, or a video file")
    if missing := gaps(image.name for image in images):
        more = f", and at {len(missing) - 1} more places" if missing[1:] else ""
        warn(f"{path}: frames are missing between {missing[0][0]} and {missing[0][1]}{more}")
    if bits := used_bits(images[0]):
        warn(f"{images[0]}: uses {bits} of its 16 bits a channel, so the frames are dark: multiply by {1 << 16 - bits}")
    yield Frames(str(path), len(images), DEFAULT_RATE, read_images(images), stored=True)


def read_images(images: Iterable[Path]) -> Iterator[np.ndarray | Unreadable]:
    """The frames of a folder, from files in order; an Unreadable in place of one that cannot be read."""
    for image in images:
        try:
            yield read_image(image)
        except FrameError as error:
            yield Unreadable(str(error))


@contextlib.contextmanager
def write_video(
    path: str | Path, rate: Fraction | float = DEFAULT_RATE, tick: Fraction | None = None
) -> Iterator[Callable[..., None]]:
    """Writes a video as H.264, or as MPEG-4 if FFmpeg has no H.264. If the block fails, no file is left.

        with write_video("out.mp4", rate=25) as write:
            write(frame)

    Args:
      path: the file; its suffix sets the container (.mp4, .mkv, .mov, .avi). An existing file is replaced at the end.
      rate: frames a second.
      tick: the unit of the clock by which the frames have their times, in seconds; None: a millisecond.

    Yields:
      a function that writes the next frame, uint8 RGB `[H, W, 3]`. Frames of another size than the first are scaled.
      With `seconds=` at every frame, each is shown at its time instead of at the rate; AVI ignores it. A time within
      half a tick of where the rate puts a frame is moved there: a constant rate stays one, though a container rounds.

    Raises:
      UserError: the container is unknown, the file cannot be written, or no frame was written.
    """
    with atomic_write(path) as temporary:
        try:
            with av.open(str(temporary), "w") as trial:  # not every container accepts the codec
                trial.add_stream(_CODEC, rate=25)
            container = av.open(str(temporary), "w")
        except ValueError as error:
            raise UserError(f"{path}: this suffix is not that of a video container: use .mp4") from error
        encoder = None
        try:
            with container:

                def write(frame: np.ndarray, seconds: float | None = None) -> None:
                    nonlocal encoder
                    seconds = None if container.format.name == "avi" else seconds
                    encoder = encoder or _Encoder(container, rate, frame.shape, seconds is not None, tick)
                    container.mux(encoder.encode(frame, seconds))

                yield write
                if encoder is not None:
                    container.mux(encoder.stream.encode())
        except av.error.FFmpegError as error:
            raise UserError(f"{path} cannot be written: {ffmpeg_message(error)}") from error
        if encoder is None:
            raise UserError(f"{path} is not written: there was no frame")


class _Encoder:
    def __init__(
        self,
        container: OutputContainer,
        rate: Fraction | float,
        shape: tuple[int, ...],
        is_timed: bool,
        tick: Fraction | None,
    ):
        # MPEG-4 counts time in units of at least 1/65535 s.
        stream = cast(VideoStream, container.add_stream(_CODEC, rate=Fraction(rate).limit_denominator(60_000)))
        self.stream = stream
        stream.height, stream.width = (side + side % 2 for side in shape[:2])  # 4:2:0 colour needs even sides
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"} if _CODEC == "libx264" else {"qscale": "3"}
        if _CODEC == "libx264" and stream.height * stream.width > _LARGE:
            stream.options |= _FEW_FRAMES
        self._rate, self._tick = Fraction(rate).limit_denominator(60_000), tick
        self._unit = _TIME_BASE if tick is None else _unit(self._rate, tick)
        if is_timed:
            stream.codec_context.time_base = self._unit
        self._last_time = -1

    def encode(self, frame: np.ndarray, seconds: float | None) -> list[av.Packet]:
        picture = av.VideoFrame.from_ndarray(_fit(frame, self.stream), format="rgb24")
        if seconds is not None:
            picture.time_base = self._unit
            picture.pts = self._last_time = max(round(self._shown(seconds) / self._unit), self._last_time + 1)
        return self.stream.encode(picture)

    def _shown(self, seconds: float) -> float | Fraction:
        """A time, or that of the rate if it rounds to the same tick."""
        regular = round(seconds * self._rate) / self._rate
        return regular if self._tick is not None and abs(regular - seconds) <= 0.501 * self._tick else seconds


def _unit(rate: Fraction, tick: Fraction) -> Fraction:
    """A unit of time no longer than a tick, as far as the codec has such, of which a period has a whole number."""
    finest = 1_000_000 if _CODEC == "libx264" else 65_535  # units in a second; MPEG-4 has no finer ones
    wanted = math.ceil(1 / (tick * rate.numerator))
    return Fraction(1, rate.numerator * max(1, min(wanted, finest // rate.numerator)))


def _fit(frame: np.ndarray, stream: VideoStream) -> np.ndarray:
    """The frame at the stream's size; an odd side gets its last line twice."""
    height, width = frame.shape[:2]
    if (height, width) == (stream.height, stream.width):
        return frame
    if (height + height % 2, width + width % 2) != (stream.height, stream.width):
        return cv2.resize(frame, (stream.width, stream.height))
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
