"""JPEG in independent tiles: decoding a part of a picture costs a part of the time.

The entropy code of a JPEG can only be read from its start, unless it has restart markers, after which it begins anew.
With a marker after every few blocks of a row, the tiles under a crop can be picked out by their markers and put behind
the file's own header with a smaller size: a valid JPEG of that part, decoded by any decoder to the very same pixels.
`add_restarts` puts the markers in, losslessly and for about 1 % more bytes, by the program jpegtran of libjpeg-turbo.
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
TILE_WIDTH = 128  # pixels, about; narrower tiles cost more bytes, wider ones more decoding
_BASELINE = (0xC0, 0xC1)  # sequential Huffman code
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_DEFINE_RESTART, _SCAN, _APP1 = 0xDD, 0xDA, 0xE1


@dataclass(frozen=True)
class Header:
    """What the header of a JPEG says. scan: where its entropy code begins. size_at: where height and width stand.
    block: width and height in pixels of the unit that is coded together. interval: of those between restarts, or 0."""

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
        """Whether restarts part every row of blocks alike."""
        return self.sequential and self.interval > 0 and self.columns % self.interval == 0


def read_header(data: bytes) -> Header | None:
    """The header of a JPEG with one scan; None for anything else."""
    position, found, interval, exif = 2, None, 0, False
    if data[:2] != b"\xff\xd8":
        return None
    try:
        while True:
            marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
            if data[position] != 0xFF:
                return None
            if marker in _FRAMES:
                size_at = position + 5
                height, width, parts = struct.unpack_from(">HHB", data, size_at)
                factors = [data[position + 11 + 3 * k] for k in range(parts)]
                # A single component is coded block by block, whatever its factors say.
                most = (max(f >> 4 for f in factors), max(f & 15 for f in factors)) if parts > 1 else (1, 1)
                found = size_at, height, width, (8 * most[0], 8 * most[1]), marker in _BASELINE, parts
            elif marker == _DEFINE_RESTART:
                interval = struct.unpack_from(">H", data, position + 4)[0]
            elif marker == _APP1:
                exif = exif or data[position + 4 : position + 9] == b"Exif\0"
            position += 2 + length
            if marker == _SCAN:
                size_at, height, width, block, sequential, parts = found
                sequential = sequential and data[position - length + 2] == parts and height > 0
                return Header(position, size_at, height, width, block, interval, sequential, exif)
    except (IndexError, struct.error, TypeError):
        return None


@dataclass(frozen=True)
class Part:
    """A JPEG of a part of a picture. whole: height and width of the picture. corner: left and top of the part."""

    data: bytearray
    whole: tuple[int, int]
    corner: tuple[int, int]


def region(data: bytes, left: int, top: int, right: int, bottom: int) -> Part | None:
    """The part of a tiled JPEG that covers the given pixels.

    Its outermost pixels may differ from the whole picture's: colour is interpolated from the neighbours, which are
    missing. So ask for a few pixels more than are wanted. None where the JPEG is not tiled.
    """
    header = read_header(data)
    if header is None or not header.tiled or header.exif:
        return None
    per_row = header.columns // header.interval
    width, height = header.interval * header.block[0], header.block[1]  # of a tile
    rows = -(-header.height // height)
    first_x, last_x = max(left, 0) // width, min(-(-right // width), per_row)
    first_y, last_y = max(top, 0) // height, min(-(-bottom // height), rows)
    starts = _tiles(data, header.scan)
    if len(starts) != per_row * rows + 1 or first_x >= last_x or first_y >= last_y:
        return None
    x, y = first_x * width, first_y * height
    size = min(last_y * height, header.height) - y, min(last_x * width, header.width) - x
    corners = np.arange(first_y, last_y)[:, None] * per_row + np.arange(first_x, last_x + 1)
    bounds, code = starts[corners], memoryview(data)
    part = bytearray().join([code[: header.scan], *(code[low:high] for low, high in bounds[:, [0, -1]].tolist())])
    struct.pack_into(">HH", part, header.size_at, *size)
    # The marker behind each tile: restarts are counted anew, modulo 8, and the last is the end of the picture.
    at = header.scan + np.cumsum(np.diff(bounds)) - 1
    markers = np.frombuffer(part, np.uint8)
    markers[at] = 0xD0 + np.arange(len(at)) % 8
    markers[at[-1]] = 0xD9
    return Part(part, (header.height, header.width), (x, y))


def _tiles(data: bytes, scan: int) -> np.ndarray:
    """Where tiles begin, and behind the last: each ends in a marker of two bytes, a restart's or the end's; empty
    where there is no end. In the code itself a byte 255 is always followed by 0."""
    code = np.frombuffer(data, np.uint8)
    where = np.flatnonzero(code[scan:-1] == 255) + scan
    kind = code[where + 1]
    end = where[kind == 0xD9]
    if not len(end):
        return np.zeros(0, np.intp)
    restarts = where[(kind >= 0xD0) & (kind <= 0xD7)]
    return np.concatenate([[scan], restarts[restarts < end[0]] + 2, end[:1] + 2])


def can_add_restarts() -> bool:
    """Whether the program for it is installed."""
    return shutil.which(PROGRAM) is not None


def check_program() -> None:
    """Raises UserError where the program is not installed."""
    if not can_add_restarts():
        raise UserError(f"tiles need the program {PROGRAM} of libjpeg-turbo: apt-get install libjpeg-turbo-progs")


def add_restarts(data: bytes) -> bytes:
    """The same picture, pixel for pixel (it is compared), in tiles; as it was where it is no JPEG, or is broken.

    Raises:
      UserError: the program was killed, which says nothing of the picture.
    """
    header = read_header(data)
    if header is None or header.exif or header.tiled:
        return data
    # jpegtran turns every kind of JPEG into a sequential one with the same blocks.
    wanted = max(1, TILE_WIDTH // header.block[0])
    divisors = [k for k in range(1, header.columns + 1) if header.columns % k == 0]
    interval = min(divisors, key=lambda k: (abs(k - wanted), k))
    command = [PROGRAM, "-copy", "none", "-restart", f"{interval}B"]
    # In a session of its own, Ctrl-C does not reach it: what this process does with the picture is up to this process.
    done = subprocess.run(command, input=data, capture_output=True, check=False, start_new_session=True)
    if done.returncode < 0:
        raise UserError(f"{PROGRAM} was killed (signal {-done.returncode}): is the memory full? Run it again")
    try:
        same = done.returncode == 0 and np.array_equal(decode(data, PROGRAM), decode(done.stdout, PROGRAM))
    except FrameError:
        same = False
    return done.stdout if same else data
