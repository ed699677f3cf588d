"""Image files: listed, read and decoded, at a reduced size where a crop needs no more.

JPEG goes through simplejpeg, which gives the same pixels as OpenCV in half the time and, unlike OpenCV, reports a
truncated or damaged file. Other formats, and JPEG files that simplejpeg does not handle (EXIF rotation), go through
OpenCV.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from relo_jax.errors import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"}
# Image formats that are not read. To skip such a frame silently would shift all frames after it.
UNSUPPORTED_SUFFIXES = {
    ".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".pnm", ".exr", ".dng", ".raw", ".tga", ".psd",
}  # fmt: skip
# Names of the folder of frames within that of a sequence, by preference: OTB, LaSOT and most; others; VOT; MOT.
FRAME_FOLDERS = ("img", "imgs", "images", "frames", "color", "img1")
# A frame may have as many pixels as one of 16K x 8K: 400 MB. A file of a few bytes can ask for 65500 x 65500.
MAX_PIXELS = 1 << 27
# OpenCV's flags for JPEG that is reduced in the frequency domain, by denominator.
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")  # the end of an image


class FrameError(UserError):
    """A frame that is missing or does not decode; the message names the file.

    Args:
      reason: "missing frame" or "undecodable image".
      where: the file.
      detail: the rest of the message.
    """

    def __init__(self, reason: str, where: str, detail: str):
        super().__init__(f"{where}: {detail}")
        self.reason, self.where, self.detail = reason, where, detail

    def __reduce__(self) -> tuple:  # worker processes raise it
        return type(self), (self.reason, self.where, self.detail)


def frame_folder(folder: Path) -> Path:
    """Where the frames of a sequence lie: its subfolder `img`, itself if it has images, or one of `FRAME_FOLDERS`.

    Raises:
      UserError: the folder cannot be listed.
    """
    if (folder / FRAME_FOLDERS[0]).is_dir() or _image_names(folder):
        return folder / FRAME_FOLDERS[0] if (folder / FRAME_FOLDERS[0]).is_dir() else folder
    others = (folder / name for name in FRAME_FOLDERS[1:])
    return next((other for other in others if other.is_dir() and _image_names(other)), folder)


def list_images(folder: Path) -> list[Path]:
    """The images of a sequence, see `frame_folder`, in the order of the numbers in their names.

    Raises:
      UserError: the folder cannot be listed; images of a format that is not read, or two images of one name, such as a
        frame 0001.jpg and a mask 0001.png, lie among them.
    """
    folder = frame_folder(folder)
    names = _image_names(folder)
    _check_names(names, folder)
    known = [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    return [folder / name for name in sorted(known, key=natural_order)]


def _check_names(names: Iterable[str], folder: Path | str) -> None:
    """Raises UserError if the images of a folder are not the frames of one video: see `list_images`."""
    stems: dict[str, str] = {}
    names = sorted(names)
    if unread := [name for name in names if os.path.splitext(name)[1].lower() in UNSUPPORTED_SUFFIXES]:
        more, known = f" and {len(unread) - 1} more" if unread[1:] else "", ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder}: {unread[0]}{more} cannot be read: convert to one of {known}, or remove them")
    for name in names:
        other = stems.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise UserError(
                f"{folder}: {other} and {name} have the same name, as a frame and its mask do: keep the frames alone"
            )


def gaps(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of neighbouring images between whose numbers others are missing; a constant step is no gap."""
    names = list(names)
    numbers = [natural_order(name)[0] for name in names]
    steps = [b[-1] - a[-1] if a and b and a[:-1] == b[:-1] else 1 for a, b in zip(numbers, numbers[1:], strict=False)]
    usual = min(steps, default=1)
    return [(names[k], names[k + 1]) for k, step in enumerate(steps) if step > max(usual, 1)]


def _image_names(folder: Path) -> list[str]:
    """Names of the images in a folder, also of formats that are not read; a folder called `a.png` is none."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES | UNSUPPORTED_SUFFIXES
                and not entry.name.startswith(".")
                and not entry.is_dir()
            ]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}): check its permissions") from None


def natural_order(name: str) -> tuple[list[int], str]:
    """Sort key that puts frame9 before frame10."""
    stem = name.rpartition(".")[0] or name
    return [int(n) for n in re.findall(r"\d+", stem)], name


def read_bytes(path: str | Path) -> bytes:
    """The content of an image file, not decoded.

    Raises:
      FrameError: the file does not exist or cannot be read.
    """
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            return file.readall() or b""  # None: a pipe into which nobody has written yet
    except FileNotFoundError:
        raise FrameError("missing frame", str(path), "no such image") from None
    except OSError as error:
        raise FrameError("missing frame", str(path), f"cannot be read ({error.strerror or error})") from None


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe too at once: one into which nobody has written is an empty file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file as uint8 [H, W, 3] RGB.

    Raises:
      FrameError: the file does not exist, cannot be read or does not decode.
    """
    return decode(read_bytes(path), str(path))


def used_bits(path: str | Path) -> int | None:
    """Bits that an image of 16 bits a channel uses, if fewer than 16, as of cameras with 10 to 14; else None."""
    if Path(path).suffix.lower() not in (".png", ".tif", ".tiff"):
        return None
    try:
        image = decode_with_opencv(read_bytes(path), str(path), cv2.IMREAD_UNCHANGED)
    except FrameError:
        return None
    bits = int(image.max()).bit_length() if image.dtype == np.uint16 else 16
    return bits if bits < 16 else None


def decode_with_opencv(data: bytes | bytearray, where: str, flags: int) -> np.ndarray:
    """OpenCV's `imdecode` (BGR), with a FrameError in place of its None and its exceptions."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # for example if the header states more pixels than OpenCV accepts
        image = None
    except MemoryError:
        raise FrameError("undecodable image", where, "is too large for the memory") from None
    if image is None:
        raise FrameError("undecodable image", where, "does not decode as an image")
    return image


def decode(data: bytes | bytearray, where: str, reduce: int = 1) -> np.ndarray:
    """Decodes an image file as uint8 [H, W, 3] RGB.

    Args:
      data: JPEG, or any format that OpenCV reads; of 16-bit images, the upper eight bits are kept.
      where: the name of the file in error messages.
      reduce: 1, 2, 4 or 8. The size is divided by it and rounded up.

    Raises:
      FrameError: the data does not decode, ends too early, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    if data[:2] == b"\xff\xd8" and not _has_exif(data):
        try:
            height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        except (ValueError, KeyError):  # KeyError: a colour space that it does not know
            raise FrameError("undecodable image", where, "does not decode as an image") from None
        if height * width > MAX_PIXELS:
            detail = f"claims {width} x {height} pixels: at most {MAX_PIXELS >> 20} million are read"
            raise FrameError("undecodable image", where, detail)
        least = {} if reduce == 1 else {"min_height": -(-height // reduce), "min_width": -(-width // reduce)}
        try:
            return simplejpeg.decode_jpeg(data, "RGB", min_factor=reduce, **least)
        except ValueError as error:
            if "remature end of JPEG" in str(error):
                detail = "the file ends too early: copy or extract it again"
                raise FrameError("undecodable image", where, detail) from None
            if not _is_padding(data, str(error)):
                detail = f"the file is damaged inside ({error}): copy or extract it again"
                raise FrameError("undecodable image", where, detail) from None
            return simplejpeg.decode_jpeg(data, "RGB", min_factor=reduce, strict=False, **least)
    image = decode_with_opencv(data, where, _REDUCED.get(reduce, cv2.IMREAD_COLOR))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _has_exif(data: bytes | bytearray) -> bool:
    """Whether a JPEG has EXIF data, in which its rotation may stand, before its pixels; other blocks may be first."""
    start = 2
    while data[start : start + 1] == b"\xff" and data[start + 1 : start + 2] != b"\xda":  # pixels
        if data[start + 1 : start + 2] == b"\xe1" and data[start + 4 : start + 9] == b"Exif\0":
            return True
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return False


def _is_padding(data: bytes | bytearray, message: str) -> bool:
    """Whether the bytes that a decoder did not expect are equal ones with which a camera fills the end of an image."""
    found = _EXTRANEOUS.search(message)
    if not found:
        return False
    end = data.rfind(b"\xff\xd9")
    return len(set(data[end - int(found[1]) : end])) <= 1
