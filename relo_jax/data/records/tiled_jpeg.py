"""JPEG in independent tiles, so that decoding a part of an image costs only a part of the time.

The entropy code of a JPEG can only be read from its start, except after a restart marker, where it begins anew. With a
marker after every few blocks of a row, the tiles under a crop can be found by their markers and put behind the file's
own header with a smaller size. The result is a valid JPEG of that region, which any decoder decodes to the same pixels.
`add_restarts` adds the markers losslessly, for about 1 % more bytes, with the program jpegtran of libjpeg-turbo.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass

import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.images import FrameError, decode

PROGRAM = "jpegtran"
TILE_WIDTH = 128  # approximate, in pixels; narrower tiles cost more bytes, wider ones more decoding
_BASELINE = (0xC0, 0xC1)  # sequential Huffman code
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_DEFINE_RESTART, _SCAN, _APP1 = 0xDD, 0xDA, 0xE1


@dataclass(frozen=True)
class Header:
    """The header of a JPEG.

    Attributes:
      scan: offset of the entropy code.
      size_at: offset of height and width.
      block: width and height in pixels of the blocks that are coded together.
      interval: number of blocks between restarts, 0 without restarts.
      sequential: whether it is a baseline JPEG with one scan.
      exif: whether it has EXIF data, which may rotate the image.
    """

    scan: int
    size_at: int
    height: int
    width: int
    block: tuple[int, int]
    interval: int
    sequential: bool
    exif: bool

    @property
    def columns(self) -> int:
        """Blocks in a row."""
        return -(-self.width // self.block[0])

    @property
    def tiled(self) -> bool:
        """Whether restarts divide every row of blocks in the same way."""
        return self.sequential and self.interval > 0 and self.columns % self.interval == 0


def read_header(data: bytes) -> Header | None:
    """The header of a JPEG with one scan; None for anything else."""
    position, frame, interval, exif = 2, None, 0, False
    if data[:2] != b"\xff\xd8":
        return None
    try:
        while True:
            marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
            if data[position] != 0xFF:
                return None
            if marker in _FRAMES:
                size_at = position + 5
                height, width, components = struct.unpack_from(">HHB", data, size_at)
                factors = [data[position + 11 + 3 * k] for k in range(components)]
                # A single component is coded in blocks of 8 x 8, whatever its sampling factors.
                largest = (max(f >> 4 for f in factors), max(f & 15 for f in factors)) if components > 1 else (1, 1)
                frame = size_at, height, width, (8 * largest[0], 8 * largest[1]), marker in _BASELINE, components
            elif marker == _DEFINE_RESTART:
                interval = struct.unpack_from(">H", data, position + 4)[0]
            elif marker == _APP1:
                exif = exif or data[position + 4 : position + 9] == b"Exif\0"
            position += 2 + length
            if marker == _SCAN:
                if frame is None:
                    return None
                size_at, height, width, block, sequential, components = frame
                sequential = sequential and data[position - length + 2] == components and height > 0
                return Header(position, size_at, height, width, block, interval, sequential, exif)
    except (IndexError, struct.error):
        return None


@dataclass(frozen=True)
class Region:
    """A JPEG of a region of an image.

    Attributes:
      image_size: (height, width) of the whole image.
      corner: (left, top) of the region.
    """

    data: bytearray
    image_size: tuple[int, int]
    corner: tuple[int, int]


def extract_region(data: bytes, left: int, top: int, right: int, bottom: int) -> Region | None:
    """The tiles of a tiled JPEG that cover the given pixels; None if the JPEG is not tiled.

    The outermost pixels may differ from those of the whole image, since colour is interpolated from neighbours, which
    are missing there. So ask for a few pixels more than needed.
    """
    header = read_header(data)
    if header is None or not header.tiled or header.exif:
        return None
    per_row = header.columns // header.interval
    width, height = header.interval * header.block[0], header.block[1]  # of a tile
    rows = -(-header.height // height)
    first_x, last_x = max(left, 0) // width, min(-(-right // width), per_row)
    first_y, last_y = max(top, 0) // height, min(-(-bottom // height), rows)
    starts = _tile_offsets(data, header.scan)
    if len(starts) != per_row * rows + 1 or first_x >= last_x or first_y >= last_y:
        return None
    x, y = first_x * width, first_y * height
    size = min(last_y * height, header.height) - y, min(last_x * width, header.width) - x
    corners = np.arange(first_y, last_y)[:, None] * per_row + np.arange(first_x, last_x + 1)
    bounds, code = starts[corners], memoryview(data)
    region = bytearray().join([code[: header.scan], *(code[low:high] for low, high in bounds[:, [0, -1]].tolist())])
    struct.pack_into(">HH", region, header.size_at, *size)
    # The marker after each tile: restarts are numbered modulo 8, and the last marker ends the image.
    at = header.scan + np.cumsum(np.diff(bounds)) - 1
    markers = np.frombuffer(region, np.uint8)
    markers[at] = 0xD0 + np.arange(len(at)) % 8
    markers[at[-1]] = 0xD9
    return Region(region, (header.height, header.width), (x, y))


def _tile_offsets(data: bytes, scan: int) -> np.ndarray:
    """int [tiles + 1]: where tiles begin, and where the last ends; empty if the file is cut off.

    Each tile ends in a two-byte marker, of a restart or of the end. In the code itself, 0 follows every byte 255.
    """
    code = np.frombuffer(data, np.uint8)
    where = np.flatnonzero(code[scan:-1] == 255) + scan
    kind = code[where + 1]
    end = where[kind == 0xD9]
    if not len(end):
        return np.zeros(0, np.intp)
    restarts = where[(kind >= 0xD0) & (kind <= 0xD7)]
    return np.concatenate([[scan], restarts[restarts < end[0]] + 2, end[:1] + 2])


def can_add_restarts() -> bool:
    """Whether jpegtran is installed."""
    return shutil.which(PROGRAM) is not None


def check_program() -> None:
    """Raises UserError if jpegtran is not installed."""
    if not can_add_restarts():
        raise UserError(f"tiles need the program {PROGRAM} of libjpeg-turbo: apt-get install libjpeg-turbo-progs")


def add_restarts(data: bytes) -> bytes:
    """A tiled JPEG with the same pixels, which are compared. Broken JPEGs and other files are returned unchanged.

    Raises:
      UserError: jpegtran was killed, which does not depend on the image.
    """
    header = read_header(data)
    if header is None or header.exif or header.tiled:
        return data
    # jpegtran turns every kind of JPEG into a sequential one with the same blocks.
    target = max(1, TILE_WIDTH // header.block[0])
    divisors = [k for k in range(1, header.columns + 1) if header.columns % k == 0]
    interval = min(divisors, key=lambda k: (abs(k - target), k))
    command = [PROGRAM, "-copy", "none", "-restart", f"{interval}B"]
    # In its own session, jpegtran does not receive Ctrl-C, which this process handles.
    done = subprocess.run(command, input=data, capture_output=True, check=False, start_new_session=True)
    if done.returncode < 0:
        raise UserError(f"{PROGRAM} was killed (signal {-done.returncode}): is the memory full? Run it again")
    try:
        same = done.returncode == 0 and np.array_equal(decode(data, PROGRAM), decode(done.stdout, PROGRAM))
    except FrameError:
        same = False
    return done.stdout if same else data
