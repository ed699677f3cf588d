"""Image files: found in a folder, read and decoded, at a reduced size where that is all a crop needs.

JPEG goes through simplejpeg, which gives OpenCV's pixels to the byte in half the time and, unlike OpenCV, says when a
file ends too early. All else, and what it does not know (CMYK, a rotation in the EXIF data), goes through OpenCV.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from relo_jax.errors import UserError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
# Of JPEG, reduced in the frequency domain: OpenCV's names for it, by denominator.
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class FrameError(UserError):
    """One frame cannot be had. reason: "missing frame" or "undecodable image"; the message names the file."""

    def __init__(self, reason: str, where: str, detail: str):
        super().__init__(f"{where}: {detail}")
        self.reason, self.where, self.detail = reason, where, detail

    def __reduce__(self):  # it comes out of worker processes
        return type(self), (self.reason, self.where, self.detail)


def list_images(folder: Path) -> list[Path]:
    """The images of a folder (of its `img` where there is one) in the order of the numbers in their names.

    Raises:
      UserError: it cannot be listed.
    """
    try:
        folder = folder / "img" if (folder / "img").is_dir() else folder
        images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}): see to its permissions") from None
    return sorted(images, key=lambda p: natural_order(p.name))


def natural_order(name: str) -> tuple:
    """Sort key that puts frame9 before frame10."""
    stem = name.rpartition(".")[0] or name
    return [int(n) for n in re.findall(r"\d+", stem)], name


def read_bytes(path: str | Path) -> bytes:
    """The file, as it is.

    Raises:
      FrameError: no such image, or it cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError:
        raise FrameError("missing frame", str(path), "no such image") from None
    except OSError as error:
        raise FrameError("missing frame", str(path), f"cannot be read ({error.strerror or error})") from None


def read_image(path: str | Path) -> np.ndarray:
    """uint8 [H, W, 3] RGB.

    Raises:
      FrameError: the image does not exist or does not decode; names it.
    """
    return decode(read_bytes(path), str(path))


def decode(data: bytes, where: str, reduce: int = 1) -> np.ndarray:
    """An encoded image as uint8 [H, W, 3] RGB.

    Args:
      data: a JPEG, or what OpenCV reads; of 16 bits the upper eight.
      where: what to call it in an error.
      reduce: 1, 2, 4 or 8: size divided by, rounded up.

    Raises:
      FrameError: it does not decode, or ends too early.
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
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED.get(reduce, cv2.IMREAD_COLOR)) if data else None
    except cv2.error:  # such as a header that tells of more pixels than OpenCV takes
        image = None
    if image is None:
        raise FrameError("undecodable image", where, "does not decode as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
