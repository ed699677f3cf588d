"""Videos in and out, one frame at a time: a film of two hours takes the memory of a few frames.

Frames are uint8 RGB `[H, W, 3]` wherever they come from. Files are decoded and encoded by FFmpeg (PyAV), pictures and
cameras read by OpenCV, whose BGR ends at this door.
"""

import contextlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from relo_jax.data.images import list_images, read_image
from relo_jax.errors import UserError
from relo_jax.files import whole_file
from relo_jax.frames import DEFAULT_RATE, Frames


@contextlib.contextmanager
def open_frames(source):
    """Opens a video for reading, and closes it when the block is left.

        with open_frames("in.mp4") as frames:
            for frame in frames: ...

    Args:
      source: a video file, a folder of frames (or of `img/` with them; in the order of the numbers in their names), the
        index of a camera (0, or "0"), or an iterable of uint8 RGB frames.

    Yields:
      Frames.

    Raises:
      UserError: there is no such video, it cannot be read, or it is empty; while iterating, a frame that does not
        decode (named by file or number), or a picture of another size than the first.
    """
    if isinstance(source, (str, Path)) and not (str(source).isdigit() and not Path(source).exists()):
        path = Path(source)
        if not path.exists():
            raise UserError(f"{path}: no such video or folder of frames")
        opened = _folder(path) if path.is_dir() else _file(path)
    elif isinstance(source, (str, int, np.integer)):
        opened = _camera(int(source))
    elif isinstance(source, Iterable):
        count = len(source) if hasattr(source, "__len__") else None
        opened = contextlib.nullcontext(Frames("frames", count, DEFAULT_RATE, iter(source)))
    else:
        raise UserError(f"{source!r} is no video: give a file, a folder of frames, a camera's index, or frames")
    with opened as frames:
        yield frames


@contextlib.contextmanager
def _file(path):
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a video ({_reason(error)})") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path} has no pictures: it is not a video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = stream.average_rate or DEFAULT_RATE
        yield Frames(str(path), _count(stream, rate), rate, _decoded(path, container))


def _count(stream, rate):
    """Frames of a stream as its header says, or as its length suggests; None when it does neither."""
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    if stream.container.duration:
        return round(Fraction(stream.container.duration, av.time_base) * rate)
    return None


def _decoded(path, container):
    number = 0
    try:
        for frame in container.decode(video=0):
            # Telephones write pictures lying on their side, and a note which side is up.
            turns = round(frame.rotation / 90) % 4
            picture = frame.to_ndarray(format="rgb24")
            yield np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
            number += 1
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: frame {number} does not decode ({_reason(error)})") from error
    if not number:
        raise UserError(f"{path} has no frames")


@contextlib.contextmanager
def _folder(path):
    images = list_images(path)
    if not images:
        raise UserError(f"{path} has no images in it: give a folder of frames, or a video file")
    yield Frames(str(path), len(images), DEFAULT_RATE, _read(images))


def _read(images):
    shape = None
    for image in images:
        frame = read_image(image)
        shape = shape or frame.shape
        if frame.shape != shape:
            sizes = [f"{w} x {h}" for h, w, _ in (frame.shape, shape)]
            raise UserError(f"{image} is {sizes[0]} pixels, {images[0].name} is {sizes[1]}: frames must have one size")
        yield frame


@contextlib.contextmanager
def _camera(index):
    # A camera that is not there is reported below, in one line instead of OpenCV's several.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(index)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise UserError(f"camera {index} cannot be opened: is it connected, and free?")
        rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1000)
        yield Frames(f"camera {index}", None, rate, _grabbed(capture))
    finally:
        capture.release()


def _grabbed(capture):
    while True:
        grabbed, frame = capture.read()
        if not grabbed:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


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

    Raises:
      UserError: the suffix is of no known container, or the file cannot be written.
    """
    with whole_file(path) as unfinished:
        try:
            container = av.open(str(unfinished), "w")
        except ValueError as error:
            raise UserError(f"{path}: no video is known by that suffix: use .mp4") from error
        encoder = None
        try:
            with container:

                def write(frame):
                    nonlocal encoder
                    encoder = encoder or _encoder(container, rate, frame.shape)
                    container.mux(encoder.encode(_even(frame, encoder)))

                yield write
                if encoder is not None:
                    container.mux(encoder.encode())
        except av.error.FFmpegError as error:
            raise UserError(f"{path} cannot be written: {_reason(error)}") from error
        if encoder is None:
            raise UserError(f"{path} is not written: there was no frame")


def _encoder(container, rate, shape):
    name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # MPEG-4 counts time in units of at most 1/65535 s.
    stream = container.add_stream(name, rate=Fraction(rate).limit_denominator(60_000))
    stream.height, stream.width = (side + side % 2 for side in shape[:2])  # 4:2:0 colour needs even sides
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "20", "preset": "veryfast"} if name == "libx264" else {"qscale": "3"}
    return stream


def _even(frame, encoder):
    """The frame at the encoder's size: an odd side gets its last line twice."""
    height, width = frame.shape[:2]
    if (height + height % 2, width + width % 2) != (encoder.height, encoder.width):
        frame = cv2.resize(frame, (encoder.width, encoder.height))
    else:
        frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return av.VideoFrame.from_ndarray(frame, format="rgb24")


def _reason(error):
    """What FFmpeg says, without its error number and the file's name, which the message has already."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
