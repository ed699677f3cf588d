"""Image files: listed, read and decoded, at a reduced size where a crop needs no more.

JPEG goes through simplejpeg, which gives the same pixels as OpenCV in half the time and, unlike OpenCV, reports a
truncated file. Other formats, and JPEG files that simplejpeg does not handle (CMYK, EXIF rotation), go through OpenCV.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from relo_jax.errors import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
# OpenCV's flags for JPEG that is reduced in the frequency domain, by denominator.
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


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


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, or of its subfolder `img` if it has one, in the order of the numbers in their names.

    Raises:
      UserError: the folder cannot be listed.
    """
    try:
        folder = folder / "img" if (folder / "img").is_dir() else folder
        images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}): check its permissions") from None
    return sorted(images, key=lambda p: natural_order(p.name))


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
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError:
        raise FrameError("missing frame", str(path), "no such image") from None
    except OSError as error:
        raise FrameError("missing frame", str(path), f"cannot be read ({error.strerror or error})") from None


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file as uint8 [H, W, 3] RGB.

    Raises:
      FrameError: the file does not exist, cannot be read or does not decode.
    """
    return decode(read_bytes(path), str(path))


def decode_with_opencv(data: bytes | bytearray, where: str, flags: int) -> np.ndarray:
    """OpenCV's `imdecode` (BGR), with a FrameError in place of its None and its exceptions."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # for example if the header states more pixels than OpenCV accepts
        image = None
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
      FrameError: the data does not decode, or ends too early.
    """
    if data[:2] == b"\xff\xd8" and b"Exif\0" not in data[:4096]:
        try:
            if reduce == 1:
                return simplejpeg.decode_jpeg(data, "RGB")
            height, width = (-(-side // reduce) for side in simplejpeg.decode_jpeg_header(data)[:2])
            return simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, min_factor=reduce)
        except ValueError as error:
            if "remature end" in str(error):
                detail = "the file ends too early: copy or extract it again"
                raise FrameError("undecodable image", where, detail) from None
    image = decode_with_opencv(data, where, _REDUCED.get(reduce, cv2.IMREAD_COLOR))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
