"""Files that are written whole or not at all: under a temporary name first, renamed at the end."""

import contextlib
import os
from pathlib import Path

from relo_jax.errors import UserError


@contextlib.contextmanager
def whole_file(path):
    """Gives a temporary path beside `path`, with its suffix; it takes the place of `path` when the block ends well.

        with whole_file("boxes.txt") as unfinished:
            unfinished.write_text(...)

    Raises:
      UserError: no such folder, no permission, disk full; nothing is left then, and what was at `path` is as it was.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder")
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
