"""Videos: frames keep their order and colours, bad sources are one-line errors, and no partial file is left."""

import itertools
import os
import threading
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from relo_jax import files
from relo_jax.errors import UserError
from relo_jax.media import video


def moving_square(count, height=48, width=64, red=200):
    """Frames of a red square that moves 3 px a frame over blue."""
    for t in range(count):
        frame = np.full((height, width, 3), (20, 30, 140), np.uint8)
        frame[10:30, 3 * t : 3 * t + 20] = (red, 40, 30)
        yield frame


def write(path, frames, rate=25):
    with video.write_video(path, rate) as put:
        for frame in frames:
            put(frame)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write(tmp_path_factory.mktemp("film") / "square.mp4", moving_square(12))


def read(source):
    with video.open_frames(source) as frames:
        return list(frames)


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_video_is_read_as_it_was_written(film):
    with video.open_frames(film) as frames:
        assert frames.count == 12 and frames.rate == 25
        pictures = list(frames)
    assert len(pictures) == 12
    for picture, drawn in zip(pictures, moving_square(12), strict=True):
        assert picture.dtype == np.uint8 and picture.shape == (48, 64, 3)
        assert np.abs(picture.astype(int) - drawn).mean() < 6  # lossy, but colours and positions are the same


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mov"])
def test_other_containers(tmp_path, suffix):
    assert len(read(write(tmp_path / f"film{suffix}", moving_square(5), Fraction(30_000, 1001)))) == 5


def test_mpeg4_is_written_if_there_is_no_h264(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_CODEC", "mpeg4")
    path = write(tmp_path / "film.mp4", moving_square(5))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert len(read(path)) == 5


def test_odd_sides_get_their_last_line_twice(tmp_path):
    frames = read(write(tmp_path / "film.mp4", moving_square(3, height=47, width=63)))
    assert frames[0].shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_long_video_does_not_fill_the_memory(tmp_path, kind):
    """Reading and writing 150 frames of 230 kB keeps fewer than 12 of them at a time."""
    frames = lambda: moving_square(150, height=240, width=320)
    tracemalloc.start()
    if kind == "file":
        source = write(tmp_path / "film.mp4", frames())
    else:
        source = tmp_path
        for t, frame in enumerate(frames()):
            cv2.imwrite(str(tmp_path / f"{t}.bmp"), frame)
    with video.open_frames(source) as opened:
        count = sum(1 for _ in opened)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 150 and peak < 12 * 240 * 320 * 3


def test_a_video_with_rotation_metadata_is_turned_upright(tmp_path):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)  # counterclockwise
        for drawn in moving_square(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        container.mux(stream.encode())
    picture = read(path)[0]
    assert picture.shape == (64, 48, 3)
    assert np.abs(picture.astype(int) - np.rot90(next(moving_square(1)))).mean() < 8


def test_a_folder_is_read_in_numerical_order(tmp_path):
    for t in (10, 9, 1, 2):
        cv2.imwrite(str(tmp_path / f"{t}.png"), np.full((20, 30, 3), (t, 0, 100), np.uint8))  # OpenCV writes BGR
    with video.open_frames(tmp_path) as frames:
        assert frames.count == 4
        pictures = list(frames)
    assert [p[0, 0].tolist() for p in pictures] == [[100, 0, t] for t in (1, 2, 9, 10)]


@pytest.mark.parametrize("suffix", [".webp", ".tiff"])
def test_a_folder_may_have_several_image_formats(suffix, tmp_path):
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
    cv2.imwrite(str(tmp_path / f"1{suffix}"), np.full((20, 30, 3), (1, 0, 100), np.uint8), lossless)
    cv2.imwrite(str(tmp_path / "2.png"), np.full((20, 30, 3), (2, 0, 100), np.uint8))
    with video.open_frames(tmp_path) as frames:
        assert [p[0, 0].tolist() for p in frames] == [[100, 0, 1], [100, 0, 2]]


def test_an_unsupported_image_format_is_not_skipped_silently(tmp_path):
    for name in ("1.png", "3.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "2.avif").touch()
    with pytest.raises(UserError, match=r"2.avif cannot be read: convert to one of \.bmp, .*, or remove them"):
        read(tmp_path)


@pytest.mark.parametrize(("owner", "name"), [(Path, "stat"), (os, "scandir")])
def test_missing_permissions_are_a_one_line_error(owner, name, tmp_path, monkeypatch):
    def denied(path, *args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(owner, name, denied)
    with pytest.raises(UserError, match=r"folder: cannot be (read|listed) \(Permission denied\)"):
        read(tmp_path / "folder")


def test_an_iterable_of_frames_is_a_video():
    pictures = read(moving_square(3))
    assert len(pictures) == 3
    with video.open_frames(pictures) as frames:
        assert frames.count == 3


def test_a_truncated_video_is_read_as_far_as_it_goes(film, tmp_path):
    """Matroska, which cameras write, can be read without its end."""
    whole = write(tmp_path / "film.mkv", moving_square(60, width=256))
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with video.open_frames(broken) as frames:
        count = sum(1 for _ in frames)
    assert 0 < count < 60


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "no such video or folder"),
        ("text.mp4", b"this is not a video", "cannot be read as a video"),
        ("cut.mp4", 300, "cannot be read as a video"),
        ("empty.mp4", b"", "cannot be read as a video"),
        ("folder", "folder", "has no images"),
    ],
)
def test_a_bad_source_is_a_one_line_error_with_its_name(name, content, message, film, tmp_path):
    """content: bytes of a file, the number of bytes of a truncated video, a folder, or None."""
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(film.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("source", "message"), [("77", "camera 77 cannot be opened"), (1.5, "is not a video")])
def test_a_source_that_is_not_a_path_is_checked_too(source, message):
    with pytest.raises(UserError, match=message):
        read(source)


def test_a_sound_file_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(UserError, match="has no pictures"):
        read(path)


def test_a_failure_while_writing_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        with video.write_video(tmp_path / "film.mp4") as put:
            for frame in moving_square(8):
                put(frame)
            raise RuntimeError("stop")
    assert leftovers(tmp_path) == []


def test_a_failure_while_writing_keeps_the_old_file(tmp_path):
    path = write(tmp_path / "film.mp4", moving_square(3))
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        with video.write_video(path) as put:
            put(next(moving_square(1)))
            raise KeyboardInterrupt
    assert path.read_bytes() == before and leftovers(tmp_path) == ["film.mp4"]
    write(path, moving_square(5))
    assert len(read(path)) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/film.mp4", "there is no folder"),
        ("film.xyz", "this suffix is not that of a video container: use .mp4"),
        ("film.webm", "this suffix is not that of a video container: use .mp4"),
        ("film.png", "this suffix is not that of a video container: use .mp4"),
        ("taken.mp4", "it is a folder"),
        ("empty.mp4", "there was no frame"),
    ],
)
def test_a_video_that_cannot_be_written_is_named_and_leaves_no_file(name, message, tmp_path):
    (tmp_path / "taken.mp4").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        write(tmp_path / name, [])
    assert name in str(caught.value)
    assert leftovers(tmp_path) == ["taken.mp4"]


def test_a_full_disk_is_a_one_line_error_and_leaves_no_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("relo_jax.files.os.replace", full)
    with pytest.raises(UserError, match="film.mp4 cannot be written: No space left on device"):
        write(tmp_path / "film.mp4", moving_square(2))
    assert leftovers(tmp_path) == []


def test_frames_of_another_size_are_scaled_to_the_first_size(tmp_path):
    frames = itertools.chain(moving_square(2), moving_square(2, height=96, width=128))
    assert [f.shape for f in read(write(tmp_path / "film.mp4", frames))] == [(48, 64, 3)] * 4


def test_frames_are_written_at_the_times_given(tmp_path):
    path = tmp_path / "film.mp4"
    with video.write_video(path, 30) as put:
        for t, frame in enumerate(moving_square(10)):
            put(frame, seconds=0.5 * t)
    with av.open(str(path)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, 0.5 * np.arange(10), atol=0.002)


def test_a_film_in_a_pipe_is_read_and_a_pipe_without_a_writer_is_one_line(tmp_path, monkeypatch):
    film, pipe = tmp_path / "film.mkv", tmp_path / "pipe.mkv"
    with video.write_video(film) as write:
        for value in range(0, 200, 10):
            write(np.full((64, 64, 3), value, np.uint8))
    os.mkfifo(pipe)
    threading.Timer(0.1, pipe.write_bytes, [film.read_bytes()]).start()
    with video.open_frames(pipe) as frames:
        assert sum(1 for _ in frames) == 20
    monkeypatch.setattr(files, "_PATIENCE", 0.1)
    with pytest.raises(UserError, match="pipe.mkv is a pipe"), video.open_frames(pipe):
        pass
