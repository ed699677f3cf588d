"""Opens cameras, and the streams behind addresses. `relo_jax.media.latest_frame` reads them."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TypeVar

import av
import cv2
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.decode import container_end, decode_pictures, open_container, picture_stream, read_container
from relo_jax.media.frames import DEFAULT_RATE, Frames
from relo_jax.media.latest_frame import LazyFrame, Reading, latest_frame
from relo_jax.media.upright import upright_rgb

TIMEOUT = 10.0  # seconds without a frame after which a source counts as silent
RETRIES = 5
_SCHEMES = {"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"}
# A lost UDP packet does not end the stream. FFmpeg's "nobuffer" is not set: it discards the packets from which FFmpeg
# identified the stream, and with them the only key frame for seconds.
_OPTIONS = {"overrun_nonfatal": "1", "rtsp_flags": "prefer_tcp"}

Answer = TypeVar("Answer")


def scheme_of(address: str) -> str:
    """The part before ://, in lower case; empty if there is none."""
    scheme, mark, _ = address.partition("://")
    return scheme.lower() if mark else ""


def is_address(source: str) -> bool:
    """Whether a text is the address of a stream, and not a path."""
    return scheme_of(source) in _SCHEMES


def without_password(address: str) -> str:
    """The address without user name and password, for messages."""
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host.rpartition("@")[2] + slash + path


@contextlib.contextmanager
def open_address(address: str, timeout: float = TIMEOUT, retries: int = RETRIES) -> Iterator[Frames]:
    """Yields the frames behind an address: of a live stream, or of a file on an HTTP server, which drops no frames.

    Args:
      address: such as "rtsp://user:password@host/stream".
      timeout: seconds without data after which the stream is opened again.
      retries: how often in a row it is opened again; a negative number sets no limit.

    Raises:
      UserError: it cannot be opened the first time.
    """
    name, scheme = without_password(address), scheme_of(address)
    options = {} if scheme.startswith("http") else _OPTIONS
    connect = lambda: open_container(address, name, options, timeout)
    container = _interruptible(connect)
    if scheme.startswith("http") and container.duration:
        with container:
            yield read_container(container, name)
    else:
        # Each read has its own time limit; the longer watch is for a hang that this limit does not end.
        reopen = lambda: _stream(connect())
        with latest_frame(name, _stream(container), reopen, 3 * timeout, retries) as frames:
            yield frames


@contextlib.contextmanager
def open_camera(index: int, timeout: float = TIMEOUT, retries: int = RETRIES) -> Iterator[Frames]:
    """Yields the frames of a camera; arguments as of `open_address`.

    Raises:
      UserError: it cannot be opened.
    """
    reopen = lambda: _capture(index)
    with latest_frame(f"camera {index}", _interruptible(reopen), reopen, timeout, retries) as frames:
        yield frames


def _upright(picture: av.VideoFrame) -> tuple[np.ndarray, bool]:
    return upright_rgb(picture), picture.is_corrupt


def _rgb(frame: np.ndarray) -> tuple[np.ndarray, bool]:
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), False


def _stream(container: av.container.InputContainer) -> Reading:
    stream = picture_stream(container)
    stream.thread_type = "SLICE"  # FFmpeg's threads by frame would delay the stream by several frames
    end, latest = container_end(container), -math.inf

    def frames() -> Iterator[LazyFrame]:
        nonlocal latest
        for picture in decode_pictures(container):
            if not isinstance(picture, str):
                latest = latest if picture.pts is None else float(picture.pts * (stream.time_base or 0))
                yield functools.partial(_upright, picture)

    is_complete = lambda: latest > end - 1.0  # of a recording that a server plays
    return Reading(frames(), container.close, stream.average_rate or DEFAULT_RATE, is_complete)


def _capture(index: int) -> Reading:
    # OpenCV prints several lines about a missing camera; the error below replaces them.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(index)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise UserError(f"camera {index} cannot be opened: is it connected, and not in use?")

    def frames() -> Iterator[LazyFrame]:
        while True:
            grabbed, frame = capture.read()
            if not grabbed:
                return
            yield functools.partial(_rgb, frame)

    rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1000)
    return Reading(frames(), capture.release, rate)


def _interruptible(call: Callable[[], Answer]) -> Answer:
    """Calls it in a thread, so that Ctrl-C works while a server does not answer."""
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def run():
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if errors:
        raise errors[0]
    return answers[0]
