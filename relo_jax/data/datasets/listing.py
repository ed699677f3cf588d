"""Lists the folders, frames and archives of a dataset, each in its order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.media.images import IMAGE_SUFFIXES, natural_order

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


def list_folders(folder: Path | str) -> list[str]:
    """Names of the folders in a folder, sorted; empty if there is no such folder.

    Raises:
      UserError: the folder cannot be listed.
    """

    def scan(path: Path | str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and _is_folder(e))

    return _list(scan, folder)


def list_frames(folder: Path | str) -> list[str]:
    """Names of the images in a folder, in the order of their numbers; empty if there is no such folder."""
    names = [n for n in list_files(folder) if os.path.splitext(n)[1].lower() in IMAGE_SUFFIXES]
    stems = [n[: n.rindex(".")] for n in names]
    if "".join(stems).isdecimal():  # the same order ten times as fast
        return [name for _, name in sorted(zip(map(int, stems), names, strict=True))]
    return sorted(names, key=natural_order)


def frames_between(names: list[str], first: int, last: int) -> list[str]:
    """The frames whose number (000123.jpg) is between `first` and `last`, both included."""
    numbers = ((os.path.splitext(name)[0], name) for name in names)
    return [name for stem, name in numbers if stem.isdecimal() and first <= int(stem) <= last]


def list_archives(folder: Path | str) -> list[str]:
    """Names of the packed archives in a folder, sorted; empty if there is no such folder."""
    return sorted(n for n in list_files(folder) if os.path.splitext(n)[1].lower() in ARCHIVES)


def list_files(folder: Path | str) -> list[str]:
    """Names of all visible files and folders in a folder, unordered; empty if there is no such folder.

    Raises:
      UserError: the folder cannot be listed.
    """
    return [name for name in _list(os.listdir, folder) if not name.startswith(".")]


def _list(listing: Callable[[Path | str], list[str]], folder: Path | str) -> list[str]:
    """`listing(folder)`; empty if there is no such folder. Raises UserError."""
    try:
        return listing(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}): check its permissions and the disk") from None


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a link to itself
        return False
