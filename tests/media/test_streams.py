"""Live sources over local sockets: no backlog, no hang, and sources that break off may come back."""

import contextlib
import http.server
import itertools
import socket
import subprocess
import sys
import threading
import time

import av
import cv2
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media import decode, latest_frame, streams, video
from tests.ports import free_port

BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def picture(t):
    """A frame whose grey value encodes its number."""
    return np.full((48, 64, 3), 40 + 3 * t, np.uint8)


def number(frame):
    return round((float(frame.mean()) - 40) / 3)


class Script:
    """What a server sends to its connections: an iterable of bytes for each; then it refuses."""

    def __init__(self, *connections):
        self._left, self.served = list(connections), 0

    def __next__(self):
        self.served += 1
        return self._left.pop(0) if self._left else None


@contextlib.contextmanager
def serving(*connections, kind="multipart/x-mixed-replace;boundary=frame", length=None):
    """Yields the address of a local server, and its Script."""
    script = Script(*connections)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = next(script)
            if body is None:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if length:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has disconnected
                for data in body:
                    self.wfile.write(data)
                    self.wfile.flush()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live", script
    finally:
        server.shutdown()
        server.server_close()


def mjpeg(first, last, pause=0.02, silence=0.0):
    """Frames as a network camera sends them, followed by seconds of silence."""
    for t in range(first, last):
        data = cv2.imencode(".jpg", picture(t))[1].tobytes()
        yield BOUNDARY % len(data) + data + b"\r\n"
        time.sleep(pause)
    time.sleep(silence)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(latest_frame, "_LONGEST_PAUSE", 0.1)


@pytest.fixture(autouse=True)
def no_thread_may_be_left():
    yield
    end = time.monotonic() + 5
    while [t for t in threading.enumerate() if t.name == "relo live"] and time.monotonic() < end:
        time.sleep(0.05)
    assert not [t for t in threading.enumerate() if t.name == "relo live"]


def test_a_slow_tracker_gets_the_latest_frame_and_the_dropped_ones_are_counted():
    with serving(mjpeg(0, 60, 0.02)) as (address, _), video.open_frames(address, 5, 0) as frames:
        assert frames.live and frames.count is None
        numbers = []
        for frame in frames:
            numbers.append(number(frame))
            time.sleep(0.1)
    assert numbers == sorted(numbers) and len(numbers) < 30
    assert frames.dropped == numbers[-1] - numbers[0] + 1 - len(numbers) > 10
    assert numbers[-1] == 59  # the last frame is not dropped


def test_the_time_of_a_frame_is_its_time_of_arrival():
    with serving(mjpeg(0, 12, 0.1)) as (address, _), video.open_frames(address, 5, 0) as frames:
        seconds = [frames.seconds for _ in frames]
    assert seconds[0] == 0 and seconds == sorted(seconds) and 0.5 < seconds[-1] < 5


def test_a_stream_that_breaks_off_is_opened_again(capsys):
    with serving(mjpeg(0, 5), mjpeg(5, 10), mjpeg(10, 15)) as (address, script):
        with video.open_frames(address, 5, 2) as frames:
            numbers = [number(frame) for frame in frames]
    assert numbers[-1] == 14 and numbers == sorted(numbers)
    lines = capsys.readouterr().err
    assert lines.count("it is back") == 2 and "try 1 of 2" in lines and "no frame in 2 more tries: giving up" in lines
    assert frames.lost == 3 and script.served == 5  # it came back twice and was refused twice


def test_a_silent_stream_is_opened_again(capsys):
    with serving(mjpeg(0, 5, silence=4), mjpeg(5, 10)) as (address, _):
        with video.open_frames(address, 0.5, 1) as frames:
            numbers = [number(frame) for frame in frames]
    assert numbers[-1] == 9 and frames.lost == 2
    assert "no data within the time limit; opening it again" in capsys.readouterr().err


def test_without_retries_a_stream_is_not_opened_again():
    with serving(mjpeg(0, 5), mjpeg(5, 10)) as (address, script), video.open_frames(address, 5, 0) as frames:
        assert [number(frame) for frame in frames][-1] == 4
    assert script.served == 1


def test_stop_ends_the_wait_for_a_frame():
    with serving(mjpeg(0, 3, silence=30)) as (address, _), video.open_frames(address, 2, -1) as frames:
        threading.Timer(0.5, frames.stop.set).start()
        start = time.monotonic()
        assert list(frames)
        assert time.monotonic() - start < 10


def test_video_streams_over_http_and_udp(tmp_path):
    path = tmp_path / "film.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for t in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t % 60), format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    pieces = [data[k : k + 1316] for k in range(0, len(data), 1316)]

    def paced():
        for piece in pieces:
            yield piece
            time.sleep(0.01)

    with serving(paced(), kind="video/mp2t") as (address, _), video.open_frames(address, 5, 0) as frames:
        shapes = {frame.shape for frame in frames}
    assert shapes == {(48, 64, 3)}

    port = free_port(socket.SOCK_DGRAM)
    done = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for piece in itertools.cycle(pieces):
                if done.wait(0.005):
                    return
                out.sendto(piece, ("127.0.0.1", port))

    threading.Thread(target=send, daemon=True).start()
    try:
        with video.open_frames(f"udp://127.0.0.1:{port}", 5, 0) as frames:
            assert frames.live and len(list(itertools.islice(frames, 5))) == 5
    finally:
        done.set()


SENDER = """
import sys, time, av, numpy as np
while True:
    try:  # until the reader listens
        container = av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "tcp"})
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        break
    except OSError:
        time.sleep(0.1)
for t in range(60):
    image = np.full((48, 64, 3), 40 + 3 * t, np.uint8)
    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    time.sleep(0.02)
container.close()
"""


def test_an_rtsp_stream(monkeypatch):
    """H.264 as cameras send it. The reader listens and the sender connects, since no RTSP server is available here.

    The sender has its own process: PyAV holds the interpreter lock while it waits for the reader's answer.
    """
    monkeypatch.setattr(streams, "_OPTIONS", {"rtsp_flags": "listen", "listen_timeout": "30"})
    address = f"rtsp://127.0.0.1:{free_port()}/live"
    sender = subprocess.Popen([sys.executable, "-c", SENDER, address])
    try:
        with video.open_frames(address, 30, 0) as frames:
            assert frames.live and frames.count is None
            numbers = [number(frame) for frame in frames]
    finally:
        sender.kill()
        sender.wait()
    assert numbers == sorted(numbers) and numbers[-1] == 59 and len(numbers) > 1


def test_no_frame_of_a_file_behind_an_address_is_dropped(tmp_path):
    """Its length is known, so the reader waits for the tracker."""
    with video.write_video(tmp_path / "film.mp4", 25) as write:
        for t in range(12):
            write(picture(t))
    data = (tmp_path / "film.mp4").read_bytes()
    with serving([data], [data], [data], kind="video/mp4", length=len(data)) as (address, _):
        with video.open_frames(address, 5, 3) as frames:
            assert not frames.live and frames.count == 12
            assert [number(frame) for frame in frames] == list(range(12))


def test_an_address_that_cannot_be_opened_is_a_one_line_error_without_the_password():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but not listening
        port = bound.getsockname()[1]
        for scheme in ("http", "rtsp", "rtmp", "tcp"):
            with pytest.raises(UserError, match="cannot be read as a video") as caught:
                with video.open_frames(f"{scheme}://me:secret@127.0.0.1:{port}/x", 2, 3):
                    pass
            assert "secret" not in str(caught.value) and f"{scheme}://127.0.0.1" in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://[x", "http://", "rtsp://@", "udp://nowhere", "HTTP://127.0.0.1:1/a@b"])
def test_a_malformed_address_is_a_one_line_error(address):
    with pytest.raises(UserError, match="cannot be read as a video") as caught, video.open_frames(address, 1, 0):
        pass
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(UserError, match="no data within the time limit"):
            with video.open_frames(f"http://127.0.0.1:{silent.getsockname()[1]}/x", 0.5, 3):
                pass
        assert time.monotonic() - start < 8


def test_a_camera_that_stalls_is_waited_for_and_then_given_up(camera, capsys):
    camera.does([picture(0), 0.1, picture(1), 0.9, picture(2), 3.5])  # 0.1 s: time to take the first frame
    start = time.monotonic()
    with video.open_frames(0, 0.3, 4) as frames:
        assert [number(frame) for frame in frames] == [0, 1, 2]
    assert time.monotonic() - start < 8 and frames.lost == 2
    lines = capsys.readouterr().err
    assert "camera 0: no frame for 0.3 s" in lines and "no frame for 1.5 s: giving up" in lines


def test_a_camera_may_be_unplugged_and_plugged_in_again(camera, capsys):
    camera.does([picture(0), None], [picture(1), picture(2), None])
    with video.open_frames("0", 1, 2) as frames:
        assert number(list(frames)[-1]) == 2
    assert "it is back" in capsys.readouterr().err


def test_a_recording_is_complete_only_if_it_was_read_to_its_end(tmp_path):
    """A recording from a server that breaks off earlier is opened again."""
    path = tmp_path / "film.mkv"
    with video.write_video(path, 10) as write:
        for t in range(40):
            write(picture(t))
    for length, is_complete in ((1.0, True), (0.6, False)):
        (tmp_path / "part.mkv").write_bytes(path.read_bytes()[: int(length * path.stat().st_size)])
        reading = streams._stream(decode.open_container(tmp_path / "part.mkv", "part.mkv"))
        assert list(reading.frames)
        assert reading.is_complete() is is_complete
        reading.close()
