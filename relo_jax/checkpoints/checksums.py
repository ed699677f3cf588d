"""Checksums of a checkpoint's files: without them, a flipped bit would be read as another weight.

`checkpoints/<step>/checksums.json` has the CRC-32 of every file of the step. It is written before the step gets its
name, so a finished checkpoint has it. Older ones have none, and are read without.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

FILE = "checksums.json"
_CHANGES = {FILE, "_CHECKPOINT_METADATA"}  # Orbax writes times into the second when it renames the step
_PIECE = 1 << 22  # bytes


def write(step: Path) -> None:
    """Writes the checksums of all files of a step, which is unfinished. Raises OSError."""
    files = [path for path in sorted(step.rglob("*")) if path.is_file() and path.name not in _CHANGES]
    sums = {path.relative_to(step).as_posix(): _crc32(path) for path in files}
    (step / FILE).write_text(json.dumps(sums, indent=1) + "\n")


def damage(step: Path, item: str = "") -> str | None:
    """The first file of a step, or of one of its items, that is not as it was written, and why; None if all are.

    None also for a step without checksums.
    """
    try:
        text = (step / FILE).read_text()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"{FILE} cannot be read ({error})"
    try:
        sums = json.loads(text)
        wanted = {name: crc for name, crc in sums.items() if name.startswith(f"{item}/" if item else "")}
    except (ValueError, AttributeError):
        return f"{FILE} is not JSON"
    if not wanted:
        return f"{FILE} lists no files of {item or 'the step'}"
    for name, crc in wanted.items():
        try:
            if _crc32(step / name) != crc:
                return f"{name} is not as it was written"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def _crc32(path: Path) -> str:
    crc = 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
    return f"{crc:08x}"
