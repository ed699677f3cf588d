"""Cameras, and streams behind addresses: how they are opened. What is done with them is in `relo_jax.media.latest_frame`."""

import contextlib
import math
import threading
from fractions import Fraction

import av
import cv2

from relo_jax.errors import UserError
from relo_jax.media.decode import from_file, opened, pictures, upright
from relo_jax.media.frames import DEFAULT_RATE
from relo_jax.media.latest_frame import Reading, latest_frame

TIMEOUT = 10.0  # seconds without a frame after which something is wrong
RETRIES = 5
_SCHEMES = {"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"}
# A packet of UDP that is lost is no end. Not FFmpeg's "nobuffer": it throws away what was read to find out what the
# stream is, with the only key frame for seconds.
_OPTIONS = {"overrun_nonfatal": "1", "rtsp_flags": "prefer_tcp"}


def scheme_of(address):
    """What is before ://, in small letters; empty where there is none."""
    scheme, mark, _ = address.partition("://")
    return scheme.lower() if mark else ""


def is_address(source):
    """Whether a text is the address of a stream, and no path."""
    return scheme_of(source) in _SCHEMES


def without_password(address):
    """An address as it may be shown."""
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host.rpartition("@")[2] + slash + path


@contextlib.contextmanager
def open_address(address, timeout=TIMEOUT, retries=RETRIES):
    """Frames of what is behind an address: a live stream, or over HTTP a file, of which no frame is dropped.

    Args:
      address: such as "rtsp://user:password@host/stream".
      timeout: seconds without data after which it is opened again.
      retries: how often in a row; 0 never, below 0 for ever.

    Raises:
      UserError: it cannot be opened the first time.
    """
    name, scheme = without_password(address), scheme_of(address)
    options = {} if scheme.startswith("http") else _OPTIONS
    open_ = lambda: opened(address, name, options, timeout)
    container = _interruptible(open_)
    if scheme.startswith("http") and container.duration:
        with container:
            yield from_file(container, name)
    else:
        # Reading has its own time limit, so that the watch is only for what no limit ends.
        read = lambda: _stream(open_())
        with latest_frame(name, _stream(container), read, 3 * timeout, retries) as frames:
            yield frames


@contextlib.contextmanager
def open_camera(index, timeout=TIMEOUT, retries=RETRIES):
    """Frames of a camera; arguments as of `open_address`.

    Raises:
      UserError: it cannot be opened.
    """
    read = lambda: _capture(index)
    with latest_frame(f"camera {index}", _interruptible(read), read, timeout, retries) as frames:
        yield frames


def _stream(container):
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # decoding several frames at once would hold back as many
    end = ((container.start_time or 0) + container.duration) / av.time_base if container.duration else math.inf
    latest = -math.inf

    def thunks():
        nonlocal latest
        for picture in pictures(container):
            if not isinstance(picture, str):
                latest = latest if picture.pts is None else float(picture.pts * stream.time_base)
                yield lambda picture=picture: (upright(picture), picture.is_corrupt)

    complete = lambda: latest > end - 1.0  # a recording that a server plays
    return Reading(thunks(), container.close, stream.average_rate or DEFAULT_RATE, complete)


def _capture(index):
    # A camera that is not there is reported below, in one line instead of OpenCV's several.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(index)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise UserError(f"camera {index} cannot be opened: is it connected, and free?")

    def thunks():
        while True:
            grabbed, frame = capture.read()
            if not grabbed:
                return
            yield lambda frame=frame: (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), False)

    rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1000)
    return Reading(thunks(), capture.release, rate)


def _interruptible(call):
    """Calls it in a thread, so that Ctrl-C need not wait for a server that does not answer."""
    answer, failure = [], []

    def run():
        try:
            answer.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if failure:
        raise failure[0]
    return answer[0]
