"""Images are listed and decoded; what is no frame of the video, damaged or far too large is named."""

import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg

from relo_jax.errors import UserError
from relo_jax.media import images
from relo_jax.media.video import open_frames


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def jpeg(picture):
    return simplejpeg.encode_jpeg(picture, 85)


@pytest.fixture
def folder(tmp_path, jpeg):
    """Six frames."""
    for k in range(6):
        (tmp_path / f"{k + 1:04d}.jpg").write_bytes(jpeg)
    return tmp_path


def names(folder):
    return [path.name for path in images.list_images(folder)]


def test_other_suffixes_of_jpeg_are_frames_and_folders_are_not(folder):
    (folder / "0002.jpg").rename(folder / "0002.jfif")
    (folder / "0003.jpg").rename(folder / "0003.JPE")
    (folder / "sub.png").mkdir()
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "0007.jpg").symlink_to(folder / "gone.jpg")  # a frame that cannot be read is still counted
    assert names(folder) == ["0001.jpg", "0002.jfif", "0003.JPE", "0004.jpg", "0005.jpg", "0006.jpg", "0007.jpg"]


def test_what_would_shift_frames_is_refused(folder):
    (folder / "0003.png").write_bytes(b"a mask")
    with pytest.raises(UserError, match="0003.jpg and 0003.png have the same name, as a frame and its mask"):
        names(folder)
    (folder / "0003.png").rename(folder / "0007.tga")
    with pytest.raises(UserError, match="0007.tga cannot be read: convert to one of .bmp, .jfif"):
        names(folder)


def test_gaps_in_the_numbers_are_told(folder, capsys):
    with open_frames(folder) as frames:
        assert frames.count == 6
    assert capsys.readouterr().err == ""
    (folder / "0003.jpg").unlink()
    with open_frames(folder) as frames:
        assert frames.count == 5
    assert "frames are missing between 0002.jpg and 0004.jpg" in capsys.readouterr().err
    assert images.gaps([f"{k}.jpg" for k in range(0, 50, 10)]) == []
    assert images.gaps(["a1_9.jpg", "a2_1.jpg", "x.jpg", "y.jpg"]) == []


def test_dark_pictures_of_sixteen_bits_are_told(tmp_path, capsys):
    deep = (np.arange(120 * 160, dtype=np.uint16) % 16384).reshape(120, 160)
    for name, image in (("1.png", deep), ("2.png", deep)):
        cv2.imwrite(str(tmp_path / name), image)
    with open_frames(tmp_path):
        pass
    assert "1.png: uses 14 of its 16 bits a channel, so the frames are dark: multiply by 4" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "1.png"), deep * 4)
    assert images.used_bits(tmp_path / "1.png") is None


@pytest.mark.parametrize("damage", ["zeros", "bytes"])
def test_jpeg_that_is_damaged_inside_is_named(jpeg, damage):
    middle = len(jpeg) // 2
    noise = np.random.default_rng(1).integers(0, 255, 200, np.uint8).tobytes()
    broken = jpeg[:middle] + (bytes(200) if damage == "zeros" else noise) + jpeg[middle + 200 :]
    for reduce in (1, 8):
        with pytest.raises(images.FrameError, match="a.jpg: the file is damaged inside"):
            images.decode(broken, "a.jpg", reduce)


def test_harmless_bytes_are_no_damage(jpeg, picture):
    """Cameras fill the end."""
    for data in (jpeg[:-2] + bytes(7) + jpeg[-2:], jpeg + b"behind the end"):
        np.testing.assert_array_equal(images.decode(data, "a.jpg"), images.decode(jpeg, "a.jpg"))


def exif(orientation):
    body = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HHI", orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def test_a_rotation_behind_another_block_is_applied(jpeg):
    profile = b"ICC_PROFILE\0\x01\x01" + bytes(6000)
    block = b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile
    assert images.decode(jpeg, "a.jpg").shape == (120, 160, 3)
    for blocks in (exif(6), block + exif(6)):
        assert images.decode(jpeg[:2] + blocks + jpeg[2:], "a.jpg").shape == (160, 120, 3)


def png(width, height):
    """A PNG that is all zeros: a thousand times smaller than its pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress(bytes((width // 8 + 1) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("has_writer", [True, False])
def test_a_pipe_in_place_of_an_image_is_an_error_at_once(tmp_path, has_writer):
    os.mkfifo(tmp_path / "1.jpg")
    ends = [os.open(tmp_path / "1.jpg", mode) for mode in (os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY) if has_writer]
    with pytest.raises(images.FrameError, match="1.jpg"):
        images.read_image(tmp_path / "1.jpg")
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp"])
def test_a_header_of_many_pixels_takes_no_memory(tmp_path, jpeg, kind):
    """In a process of its own: OpenCV reads its limit once."""
    path = tmp_path / f"a.{kind}"
    if kind == "jpg":
        start = jpeg.index(b"\xff\xc0") + 5
        path.write_bytes(jpeg[:start] + struct.pack(">HH", 65500, 65500) + jpeg[start + 4 :])
    elif kind == "png":
        path.write_bytes(png(30_000, 30_000))
    else:
        size = struct.pack("<IiiHHIIiiII", 40, 40_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0)
        path.write_bytes(b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + size + bytes(46))
    script = f"""
from relo_jax.media import images
try:
    images.read_image({str(path)!r})
except images.FrameError as error:
    print(error)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    message, kibibytes = done.stdout.splitlines()
    assert message.startswith(str(path)) and int(kibibytes) < 500 << 10, (done.stdout, done.stderr)
