"""Files that are written whole or not at all: under a temporary name first, renamed at the end."""

import contextlib
import json
import os
import sys
from pathlib import Path

from relo_jax.errors import UserError

_DEVICES = (Path("/dev"), Path("/dev/fd"))


@contextlib.contextmanager
def atomic_write(path):
    """Gives a temporary path beside `path`, with its suffix; it takes the place of `path` when the block ends well.

        with atomic_write("boxes.txt") as unfinished:
            unfinished.write_text(...)

    A link stays one: what it leads to is replaced.

    Raises:
      UserError: no such folder, no permission, disk full, a pipe or a device; nothing is left then, and what was at
        `path` is as it was.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder")
    try:
        place = path.resolve()
        in_the_way = place.exists() and not place.is_file()
    except (OSError, RuntimeError) as error:  # a link to itself
        raise UserError(f"{path} cannot be written: {error}") from None
    # What a device's name leads to, such as /dev/stdout, may be a file that somebody else is writing.
    devices = [p for p in (path.absolute(), place) if p.parent in _DEVICES or p.is_relative_to("/proc")]
    if in_the_way or devices:
        raise UserError(f"{path} cannot be written: it is a pipe or a device; give a file's name")
    unfinished = place.with_name(f".{place.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, place)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def json_file(path):
    """Gives a function that writes; whether `path` can be written is known before the work. Raises UserError."""
    if path is None:
        yield lambda content: None
        return
    with atomic_write(path) as unfinished:
        yield lambda content: unfinished.write_text(json.dumps(content, indent=1) + "\n")


def discard_stdout():
    """Nothing more is written to the standard output, the interpreter's end included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
