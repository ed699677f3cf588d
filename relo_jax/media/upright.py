"""Decoded pictures as RGB arrays that stand upright."""

import struct

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType

from relo_jax.media.frames import Unreadable


def ffmpeg_message(error: Exception) -> str:
    """FFmpeg's message without its error number and the file's name, which our messages already have."""
    if isinstance(error, av.error.ExitError):
        return "no data within the time limit"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def upright_rgb(picture: av.VideoFrame) -> np.ndarray:
    """A decoded picture as uint8 RGB `[H, W, 3]`, turned and mirrored as its metadata say, for phones store both so.

    Other angles than multiples of 90 degrees are ignored.
    """
    image = picture.to_ndarray(format="rgb24")
    # `picture.side_data` and the picture would refer to each other, and dozens of pictures wait to be collected.
    matrix = SideDataContainer(picture).get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload,call-arg]  # stubs lack both
    if matrix is None:
        return image
    # Columns x and y of the picture go to (a, b) and (c, d), in fixed point with the sign that matters here.
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    if a and d and not (b or c):
        image = image[:, ::-1] if a < 0 else image
        image = image[::-1] if d < 0 else image
    elif b and c and not (a or d):
        image = image.swapaxes(0, 1)
        image = image[:, ::-1] if c < 0 else image
        image = image[::-1] if b < 0 else image
    return np.ascontiguousarray(image)


def frame_of(picture: av.VideoFrame, name: str, number: int) -> np.ndarray | Unreadable:
    """`upright_rgb`, or an Unreadable if the picture of a damaged film has no colours that can be converted."""
    try:
        return upright_rgb(picture)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        return Unreadable(f"{name}: frame {number} does not decode ({ffmpeg_message(error)})")
