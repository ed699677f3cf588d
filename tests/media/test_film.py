"""Films from any frame on, both ways: the same frames, numbers and times as from the beginning, in little memory."""

import weakref
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media import film, upright, video
from relo_jax.media.frames import Unreadable

SIZE = (48, 64)


def picture(t):
    frame = np.full((*SIZE, 3), (20, 30, 140), np.uint8)
    frame[8:24, t % 40 : t % 40 + 16] = (220, 5 * t % 250, 30)
    return frame


def encode(path, pts, unit, codec="libx264", size=SIZE, **options):
    """Frames with the given times, in units."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "10", **options})
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = unit
        for t, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(cv2.resize(picture(t), size[::-1]), format="rgb24")
            frame.pts, frame.time_base = time, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


FILMS = {
    "x264.mp4": ("libx264", Fraction(1, 25), {}),
    "b_frames.mkv": ("libx264", Fraction(1, 1000), {"bf": "3", "x264-params": "open-gop=1"}),
    "film.ts": ("libx264", Fraction(1, 90000), {"bf": "2"}),
    "mpeg2.ts": ("mpeg2video", Fraction(1, 25), {"bf": "2"}),
    "mpeg4.mp4": ("mpeg4", Fraction(1, 25), {}),
    "vp8.webm": ("libvpx", Fraction(1, 1000), {}),
    "film.mov": ("mjpeg", Fraction(1, 600), {}),
}


@pytest.fixture(scope="module", params=FILMS)
def file(request, tmp_path_factory):
    """A file of 47 frames, of varying rate where its clock allows that."""
    codec, unit, options = FILMS[request.param]
    steps = np.random.default_rng(1).integers(1, 8, 47) if unit < Fraction(1, 100) else np.ones(47, int)
    pts = np.cumsum(steps * max(1, round(Fraction(1, 50) / unit))).tolist()
    return encode(tmp_path_factory.mktemp("films") / request.param, pts, unit, codec, **options)


def whole(path):
    with video.open_frames(path) as frames:
        items = list(frames)
        return items, list(frames.times)


def assert_same(items, expected):
    assert len(items) == len(expected)
    assert all(np.array_equal(item, one) for item, one in zip(items, expected, strict=True))


def test_every_frame_is_the_same_from_wherever_it_is_read(file):
    items, times = whole(file)
    with film.open_film(file) as opened:
        assert opened.count == len(items) == 47 and list(opened.times) == times
        for first, last in ((0, None), (7, 19), (20, None), (23, 23), (46, 46), (11, 31)):
            frames = opened.frames(first, last)
            assert frames.number == first and frames.count == (46 if last is None else last) - first + 1
            assert_same(list(frames), items[first : None if last is None else last + 1])
        for first, last in ((46, 0), (33, 4), (19, 10)):
            assert_same(list(opened.frames(first, last)), items[last : first + 1][::-1])


def test_a_stretch_between_key_frames_that_does_not_fit_is_read_in_parts(tmp_path, monkeypatch):
    path = encode(tmp_path / "film.mp4", range(60), Fraction(1, 25), g="60")
    expected, made, most, read = whole(path)[0][::-1], [], 0, upright.upright_rgb

    def upright_rgb(picture):
        made.append(weakref.ref(image := read(picture)))
        return image

    monkeypatch.setattr(upright, "upright_rgb", upright_rgb)
    monkeypatch.setattr(film, "MAX_HELD", 8 * expected[0].nbytes)
    with film.open_film(path) as opened:
        for item, one in zip(opened.frames(59, 0), expected, strict=True):
            assert np.array_equal(item, one)
            most = max(most, sum(image() is not None for image in made))
    assert 4 <= most <= 10


def test_a_frame_that_does_not_decode_is_unreadable_both_ways(tmp_path):
    path = encode(tmp_path / "film.mkv", range(0, 1200, 40), Fraction(1, 1000), bf="0")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    at = data.find(bytes(packets[14]))
    data[at : at + packets[14].size] = b"\xff" * packets[14].size
    path.write_bytes(bytes(data))
    with film.open_film(path) as opened:
        forwards, back = list(opened.frames(2, 28)), list(opened.frames(28, 2))[::-1]
    lost = [2 + k for k, item in enumerate(forwards) if isinstance(item, Unreadable)]
    assert lost and 14 in lost and len(forwards) == 27
    assert lost == [2 + k for k, item in enumerate(back) if isinstance(item, Unreadable)]
    assert "film.mkv: frame 14 does not decode" in str(forwards[12].message)


def test_a_position_is_a_frame_or_a_time(tmp_path):
    path = encode(tmp_path / "film.mp4", [0, 10, 30, 60, 61, 100], Fraction(1, 100))
    with film.open_film(path) as opened:
        found = {text: opened.number_of(text) for text in (0, "5", "0.09s", 0.1, "00:00:00.3", "0:00.6", ".605s", "1s")}
        assert list(found.values()) == [0, 5, 0, 1, 2, 3, 3, 5]
        with pytest.raises(UserError, match=r"^--from is frame 6: .*film.mp4 has frames 0 to 5$"):
            opened.number_of("6", "--from")
        with pytest.raises(UserError, match=r"^--from is 75 s: .*film.mp4 ends at 1\.\d+ s$"):
            opened.number_of("1:15", "--from")
    assert film.parse_position("1:02:03.5") == 3723.5 and film.parse_position("01:15") == 75.0


@pytest.mark.parametrize(
    "text", ["", "-1", -1, "4.5", "1:2:3:4", "4.5m", "nan", float("nan"), float("inf"), "²", "9" * 5000, True]
)
def test_what_is_no_position_is_one_line(text):
    with pytest.raises(UserError, match="^--from is .*: give the number of a frame from 0, or a time: 4.5s, 0:04.5"):
        film.parse_position(text, "--from")


def test_a_folder_and_a_list_are_read_by_index(tmp_path):
    for t in range(6):
        cv2.imwrite(str(tmp_path / f"{t}.png"), np.full((20, 30, 3), t, np.uint8))
    (tmp_path / "3.png").write_bytes(b"nothing")
    frames = [np.full((20, 30, 3), t, np.uint8) for t in range(6)]
    value = lambda item: None if isinstance(item, Unreadable) else int(item[0, 0, 0])
    with film.open_film(tmp_path) as opened:
        assert [value(item) for item in opened.frames(4, 1)] == [4, None, 2, 1]
        assert [value(item) for item in opened.frames(2)] == [2, None, 4, 5]
        assert opened.names[1] == "1.png" and opened.number_of("0.1s") == 3  # at 30 frames a second
    with film.open_film(frames) as opened:
        assert [value(item) for item in opened.frames(4, 2)] == [4, 3, 2]
    with film.open_film(iter(frames)) as opened:
        assert [value(item) for item in opened.frames(1, 3)] == [1, 2, 3]
        with pytest.raises(UserError, match="only read forwards: give a list"):
            opened.frames(3, 1)


def test_a_film_without_times_is_read_forwards_only(tmp_path):
    path = encode(tmp_path / "film.avi", range(12), Fraction(1, 25), "mpeg4")
    items, _ = whole(path)
    with film.open_film(path) as opened:
        assert_same(list(opened.frames(5, 8)), items[5:9])
        with pytest.raises(UserError, match="film.avi cannot be read backwards, its frames have no reliable times"):
            opened.frames(5, 0)


@pytest.mark.parametrize("source", [0, "0", "rtsp://user:secret@host/x", "http://host/film.mp4"])
def test_a_camera_or_a_stream_has_no_frame_to_go_to(source):
    with pytest.raises(UserError, match="is a camera or a stream, in which one cannot go to a frame") as error:
        with film.open_film(source):
            pass
    assert "secret" not in str(error.value)
