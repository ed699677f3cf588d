"""Output files and folders, and pipes as input. An output file is atomic: it gets its name when it is complete.

The temporary name cannot be guessed, and the file is made anew: nothing is ever written through a link that somebody
else put there. What a killed process left behind is removed by the next that writes the same file.
"""

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from relo_jax.errors import UserError

_DEVICES = (Path("/dev"), Path("/dev/fd"))
_PATIENCE = 10.0  # seconds for somebody to write into a pipe
_LONGEST_STEM, _LONGEST_SUFFIX = 120, 20  # characters in a temporary name; most systems allow 255 bytes in all


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with the same suffix, and moves it to `path` when the block succeeds.

        with atomic_write("boxes.txt") as temporary:
            temporary.write_text(...)

    A symbolic link is kept; the file that it points to is replaced.

    Raises:
      UserError: the folder is missing or not writable, the disk is full, or `path` is a folder, a pipe or a device.
        The temporary file is removed, and the old content of `path` is kept.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder")
    try:
        target = path.resolve()
        is_special = target.exists() and not target.is_file()
    except (OSError, RuntimeError) as error:  # a link to itself
        raise UserError(f"{path} cannot be written: {error}") from None
    # A device name such as /dev/stdout may resolve to a regular file that another process is writing.
    devices = [p for p in (path.absolute(), target) if p.parent in _DEVICES or p.is_relative_to("/proc")]
    if is_special or devices:
        raise UserError(f"{path} cannot be written: it is a pipe or a device; give the name of a file")
    remove_leftovers(target)
    temporary = unfinished_name(target)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o666))
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk it is not even missing
            temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yields a new folder beside `path`, which gets the name `path` when the block succeeds, and is removed if not.

    Raises:
      UserError: the folder above is missing or not writable, the disk is full, or `path` exists and is not empty.
    """
    path = Path(path).absolute()
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    remove_leftovers(path)
    unfinished = unfinished_name(path)
    try:
        unfinished.mkdir()
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written, nothing is left of it: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def unfinished_name(path: Path) -> Path:
    """A name beside `path`, with the same suffix, for a file or folder that is not finished. Nobody can guess it."""
    owner = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem[:_LONGEST_STEM]}.{owner}.unfinished{path.suffix[:_LONGEST_SUFFIX]}")


def remove_leftovers(path: Path) -> None:
    """Removes what killed processes of this machine left beside `path`, under names of `unfinished_name`."""
    stem, suffix = path.stem[:_LONGEST_STEM], path.suffix[:_LONGEST_SUFFIX]
    name = re.compile(
        rf"\.{re.escape(stem)}\.{re.escape(_host())}\.(\d+)\.[0-9a-f]{{8}}\.unfinished{re.escape(suffix)}"
    )
    try:
        beside = os.listdir(path.parent)
    except OSError:
        return
    for other in beside:
        found = name.fullmatch(other)
        if found and not _is_running(int(found[1])):
            leftover = path.with_name(other)
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    leftover.unlink()


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname())[:40]


def _is_running(process: int) -> bool:
    """Whether a process of this machine runs; True in doubt."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def make_folder(path: Path | str) -> None:
    """Makes a folder for output, and those above it, unless it exists. Raises UserError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}") from None


@contextlib.contextmanager
def json_file(path: Path | str | None) -> Iterator[Callable[[Any], object]]:
    """Yields a function that writes its argument to `path` as JSON; it does nothing if `path` is None.

    Open it before a long computation: a path that cannot be written raises UserError at once.
    """
    if path is None:
        yield lambda content: None
        return
    with atomic_write(path) as temporary:
        yield lambda content: temporary.write_text(json.dumps(content, indent=1) + "\n")


def readable(path: Path | str) -> Path | str | int:
    """What `open` takes in place of a path, without ever waiting for it.

    That is `path` itself; for a pipe (FIFO), the descriptor of its end, into which somebody has written.

    Raises:
      UserError: `path` is a pipe into which nobody has written for ten seconds.
      OSError: it cannot be opened.
    """
    if not Path(path).is_fifo():
        return path
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not select.select([pipe], [], [], _PATIENCE)[0]:
        os.close(pipe)
        raise UserError(f"{path} is a pipe (FIFO) into which nobody has written for {_PATIENCE:g} s: give a file")
    os.set_blocking(pipe, True)
    return pipe


def refuse_pipe(path: Path | str) -> None:
    """Raises UserError if `path` is a pipe (FIFO), in which nothing can be read twice or out of order."""
    if Path(path).is_fifo():
        raise UserError(f"{path} is a pipe (FIFO): give a file")


def discard_stdout() -> None:
    """Discards all further standard output, including what Python flushes when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
