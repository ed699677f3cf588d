"""Damaged videos: every frame keeps its index, lost frames are counted and reported, nothing hangs."""

import random
import struct
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media import decode, video
from relo_jax.media.frames import Unreadable


def picture(t, height=96, width=128):
    """Frame t of a moving pattern with noise: no part of its file is redundant."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([2 * x + 3 * t, 3 * y + t, x + y + 5 * t], -1) % 256
    noise = np.random.default_rng(t).integers(-15, 15, (height, width, 3))
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def encode(path, count=48, codec="libx264", height=96, width=128, **options):
    """A video with a key frame every 12 frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"g": "12", **options}
        for t in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t, height, width), format="rgb24")))
        container.mux(stream.encode())
    return path


def read(source):
    """Returns the items (frames and Unreadable) and the Frames."""
    with video.open_frames(source) as frames:
        return list(frames), frames


def readable(items):
    return [None if isinstance(item, Unreadable) else item for item in items]


def overwrite(path, start, length, pattern=b"\0"):
    data = bytearray(path.read_bytes())
    data[start : start + length] = (pattern * length)[:length]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("pattern", [b"\0", b"\xa5\x17\xe3"])
def test_every_frame_keeps_its_index_around_a_damaged_part(tmp_path, codec, pattern):
    """Part of an mp4 is overwritten: the frames after it have the same index as before."""
    path = encode(tmp_path / "film.mp4", codec=codec)
    whole, _ = read(path)
    size = path.stat().st_size
    items, frames = read(overwrite(path, size // 2, size // 10, pattern))
    decoded = readable(items)
    lost = [t for t, frame in enumerate(decoded) if frame is None]
    assert len(items) == len(whole) == frames.count == 48
    assert 0 < len(lost) < 24 and 2 < lost[0] and "film.mp4: frame" in items[lost[0]].message
    for t in (*range(lost[0] - 2), *range(40, 48)):
        np.testing.assert_array_equal(decoded[t], whole[t])


@pytest.mark.parametrize("part", range(3, 20))
def test_the_number_of_frames_stays_the_same_wherever_the_damage_is(tmp_path, part):
    """After some kinds of damage the decoder returns a frame late, when an Unreadable has already taken its place."""
    path = encode(tmp_path / "film.mp4")
    size = path.stat().st_size
    items, _ = read(overwrite(path, size * part // 20, size // 12))
    lost = sum(isinstance(item, Unreadable) for item in items)
    assert len(items) == 48 and lost < 30


def test_one_broken_picture_of_an_mjpeg_file_is_one_lost_frame(tmp_path):
    path = encode(tmp_path / "film.avi", 20, "mjpeg")
    data = path.read_bytes()
    starts = [k for k in range(len(data) - 2) if data[k : k + 3] == b"\xff\xd8\xff"]
    items, _ = read(overwrite(path, starts[7] + 2, 700))
    assert [t for t, item in enumerate(items) if isinstance(item, Unreadable)] == [7] and len(items) == 20


def test_a_truncated_file_gives_the_frames_that_it_has(tmp_path, capsys):
    path = encode(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    items, frames = read(path)
    assert frames.count == 48 and 20 < sum(frame is not None for frame in readable(items)) < 48


def of_varying_rate(path):
    with video.write_video(path, 30) as write:
        for t, seconds in enumerate((0, 0.031, 0.07, 0.11, 2.003, 4, 4.05, 4.1)):
            write(picture(t), seconds=seconds)


def with_longer_sound(path):
    encode(path.with_name("silent.mkv"), 30)
    with av.open(str(path.with_name("silent.mkv"))) as silent, av.open(str(path), "w") as container:
        stream, sound = container.add_stream_from_template(silent.streams.video[0]), container.add_stream("aac", 8000)
        for packet in silent.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
        for t in range(16):  # 2 s, where 30 frames are 1.2 s
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            quiet.sample_rate, quiet.pts = 8000, 1000 * t
            container.mux(sound.encode(quiet))
        container.mux(sound.encode())


def cut_without_reencoding(path):
    """As `ffmpeg -ss -c copy` does: the file contains frames before the cut that are never shown."""
    encode(path.with_name("longer.mp4"), 30)
    with av.open(str(path.with_name("longer.mp4"))) as longer, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(longer.streams.video[0])
        for packet in longer.demux(video=0):
            if packet.size:
                before = round(6 / (25 * packet.time_base))
                packet.stream, packet.pts, packet.dts = stream, packet.pts - before, packet.dts - before
                container.mux(packet)


@pytest.mark.parametrize(
    ("make", "name", "header", "count"),
    [
        (of_varying_rate, "film.mkv", 124, 8),
        (with_longer_sound, "film.mkv", 50, 30),
        (cut_without_reencoding, "film.mp4", 30, 24),
    ],
)
def test_a_complete_video_is_not_reported_as_short(tmp_path, make, name, header, count):
    """Whatever number of frames its header implies."""
    make(tmp_path / name)
    with video.open_frames(tmp_path / name) as frames:
        assert abs(frames.count - header) <= 4  # the audio encoder adds some milliseconds
        assert len(list(frames)) == count == frames.count


@pytest.mark.parametrize(("name", "rest"), [("film.mkv", 0.6), ("film.ts", 0.6), ("film.mkv", 1.0)])
def test_the_expected_number_includes_frames_without_a_trace_in_the_file(tmp_path, name, rest):
    """A part in the middle of the file is gone, or its second half."""
    path = encode(tmp_path / name, 144)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + data[int(rest * len(data)) :])
    items, frames = read(path)
    assert len(items) < 140 and frames.count == 144


def test_frames_before_the_first_key_frame_are_left_out(tmp_path, capsys):
    path = encode(tmp_path / "film.mp4", keyint_min="12")
    with av.open(str(path)) as container:
        first = next(packet for packet in container.demux(video=0))
        start, length = first.pos, first.size
    items, _ = read(overwrite(path, start, length))
    assert not any(isinstance(item, Unreadable) for item in items[:1]) and 30 < len(items) < 48
    assert "frames do not decode and are left out" in capsys.readouterr().err


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_a_stream_may_change_its_size(tmp_path, codec):
    """As in a broadcast: three parts in one file, each beginning at time 0."""
    parts = [encode(tmp_path / f"{k}.ts", 12, codec, *size) for k, size in enumerate(((96, 128), (192, 256), (96, 96)))]
    whole = tmp_path / "film.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    items, _ = read(whole)
    sizes = [item.shape[:2] for item in items]
    assert sizes == sorted(sizes, key=((96, 128), (192, 256), (96, 96)).index)
    assert all(11 <= sizes.count(size) <= 12 for size in sizes)  # the decoder may keep the last before a change


def test_hidden_packets_and_b_frames_are_not_lost_frames(tmp_path):
    """VP8 has packets that are never shown; B-frames are stored in another order than they are shown."""
    with av.open(str(encode(tmp_path / "shown.webm", 10, "libvpx"))) as shown:
        with av.open(str(tmp_path / "film.webm"), "w") as container:
            stream = container.add_stream_from_template(shown.streams.video[0])
            for t, packet in enumerate(packet for packet in shown.demux(video=0) if packet.size):
                data = bytearray(bytes(packet))
                data[0] &= ~0x10 if t == 6 else 0xFF  # the bit "show this frame"
                hidden = av.Packet(bytes(data))
                hidden.pts, hidden.dts, hidden.time_base = packet.pts, packet.dts, packet.time_base
                hidden.stream, hidden.is_keyframe = stream, packet.is_keyframe
                container.mux(hidden)
    items, _ = read(tmp_path / "film.webm")
    assert len(items) == 9 and not any(isinstance(item, Unreadable) for item in items)
    for name, codec, options in (
        ("film.mkv", "libx264", {"bf": "3"}),
        ("film.avi", "libx264", {"bf": "3"}),
    ):
        items, _ = read(encode(tmp_path / name, 40, codec, **options))
        assert [getattr(item, "shape", None) for item in items] == [(96, 128, 3)] * 40, name


def test_a_picture_above_the_size_limit_is_not_decoded(tmp_path, monkeypatch):
    path = encode(tmp_path / "film.avi", 5, "mjpeg")
    assert len(read(path)[0]) == 5
    monkeypatch.setitem(decode._LIMITS, "max_pixels", str(96 * 128 - 1))
    with pytest.raises(UserError, match="no frames that decode"):
        read(path)


def test_an_image_that_does_not_decode_keeps_its_index_in_a_folder(tmp_path):
    for t in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{t:04d}.jpg"), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "0002.jpg").write_bytes(b"not an image")
    items, frames = read(tmp_path)
    assert frames.count == 3 and [isinstance(item, Unreadable) for item in items] == [False, True, False]
    assert "0002.jpg: does not decode" in items[1].message


FUZZED = {"f.mp4": "libx264", "f.mkv": "libx264", "f.avi": "mjpeg", "f.ts": "mpeg2video", "f.mov": "mpeg4"}


@pytest.mark.parametrize("seed", range(5))
def test_a_corrupted_file_gives_frames_or_a_one_line_error(tmp_path, seed):
    """300 mutants of each file: parts are replaced by noise or zeros, removed or repeated, in header and pictures."""
    rng = random.Random(seed)
    name, codec = list(FUZZED.items())[seed]
    path = encode(tmp_path / name, 6, codec, 48, 64)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(rng.choice([min(600, len(data)), len(data)]))
            length = rng.choice([1, 1, 4, 40, 400])
            piece = data[at : at + length]
            data[at : at + length] = rng.choice([rng.randbytes(len(piece)), bytes(len(piece)), b"", piece + piece])
        path.write_bytes(data)
        try:
            items, _ = read(path)
            assert items and all(item.ndim == 3 for item in readable(items) if item is not None)
        except UserError as error:
            refused += 1
            assert name in str(error) and "\n" not in str(error)
    assert refused < 300


@pytest.mark.parametrize("name", ["12:30:05.mp4", "http:x.mp4", "C:\\Users\\me\\v.mp4", "file:a.mp4", "a%20b#c?d.mp4"])
def test_a_name_may_have_a_colon(tmp_path, monkeypatch, name):
    encode(tmp_path / "film.mp4", 3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert len(read(path)[0]) == 3


def test_a_cover_is_no_film(tmp_path):
    """A sound file with a picture, as music has it, and a film with a picture in front."""

    def mux(path, *, film):
        with av.open(str(path), "w") as container:
            cover = container.add_stream("mjpeg", rate=25)
            cover.height, cover.width, cover.pix_fmt = 96, 128, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            moving = container.add_stream("libx264", rate=25) if film else None
            if film:
                moving.height, moving.width, moving.pix_fmt = 96, 128, "yuv420p"
            for t in range(5 if film else 1):
                frame = av.VideoFrame.from_ndarray(picture(t), format="rgb24")
                if t == 0:
                    container.mux([*cover.encode(frame), *cover.encode()])
                if film:
                    container.mux(moving.encode(frame))
            if film:
                container.mux(moving.encode())
        return path

    with pytest.raises(UserError, match=r"cover.mp4 is not a video: it has no pictures"):
        read(mux(tmp_path / "cover.mp4", film=False))
    assert len(read(mux(tmp_path / "film.mp4", film=True))[0]) == 5


# a, b, c, d of the display matrix -> what is seen
ORIENTATIONS = {
    (1, 0, 0, 1): lambda x: x,
    (-1, 0, 0, 1): lambda x: x[:, ::-1],  # the front camera of a phone
    (1, 0, 0, -1): lambda x: x[::-1],
    (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
    (0, 1, -1, 0): lambda x: np.rot90(x, -1),
    (0, -1, 1, 0): lambda x: np.rot90(x),
    (0, 1, 1, 0): lambda x: x.swapaxes(0, 1),
    (0, -1, -1, 0): lambda x: np.rot90(x.swapaxes(0, 1), 2),
    (0.7071, 0.7071, -0.7071, 0.7071): lambda x: x,  # 45 degrees: left as it is
}


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_a_film_is_turned_and_mirrored_as_its_matrix_says(tmp_path, matrix):
    path = encode(tmp_path / "film.mp4", 2)
    plain = read(path)[0][0]
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(65536 * value) for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path)[0][0], ORIENTATIONS[matrix](plain))


def test_the_rate_of_ogg_is_found(shared):
    items, frames = read(shared / "cases" / "ogg_rate" / "t.ogv")
    assert (len(items), frames.count, frames.rate) == (30, 30, 25)


def test_less_than_a_second_that_is_missing_is_noticed(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=240)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.options = {"g": "24"}
        for t in range(480):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t % 50), format="rgb24")))
        container.mux(stream.encode())
    items, frames = read(path)
    assert len(items) == frames.count == 480
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    items, frames = read(path)
    assert len(items) < 470 and frames.count == 480


@pytest.mark.parametrize("cores, side, threads", [(256, 640, 0), (256, 2048, 10), (2, 2048, 0), (4, 8192, 1)])
def test_large_pictures_are_decoded_by_few_threads_and_small_ones_by_no_more_than_usual(
    cores, side, threads, monkeypatch
):  # fmt: skip
    monkeypatch.setattr(decode.os, "cpu_count", lambda: cores)
    context = SimpleNamespace(thread_count=0)  # FFmpeg chooses
    decode.use_threads(SimpleNamespace(width=side, height=side, codec_context=context))
    assert context.thread_count == threads
