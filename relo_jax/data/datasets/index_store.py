"""An index on disk: a folder of arrays and a list of problems, there as a whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from relo_jax.errors import UserError

# Raise it when annotations are read or stored differently: every index of another version is then built anew.
INDEX_VERSION = 1

# What reading one raises that is not whole: cut off, or empty as after a power failure.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError)
_DAY = 24 * 3600  # seconds


def save(
    folder: Path, older: str, text, boxes, visible, shown, still, problems, left_out: int, **more: np.ndarray
) -> None:
    """Leaves an index, whole, at `folder`, and removes those beside it that match `older`.

    It is written under another name and renamed, so that a crash leaves nothing that could be taken for an index, and
    of two processes that make the same one the first to finish wins.

    Args:
      text: a sequence's name, folder, category and frames, as `IndexedDataset` takes them apart.
      boxes, visible, shown, still: of each sequence.
      problems: of all.
      more: further arrays.
    """
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        starts = lambda parts: np.cumsum([0, *map(len, parts)], dtype=np.int64)
        arrays = {
            "boxes": np.concatenate(boxes) if boxes else np.zeros((0, 4)),
            "visible": np.concatenate(visible) if visible else np.zeros(0, bool),
            "shown": np.concatenate(shown) if shown else np.zeros(0, bool),
            "start": starts(boxes),
            "text": np.frombuffer(b"".join(text), np.uint8),
            "text_start": starts(text),
            "visible_count": np.array([np.count_nonzero(v) for v in visible], np.int64),
            "still": np.array(still, bool),
            **more,
        }
        for name, values in arrays.items():
            np.save(unfinished / f"{name}.npy", values)
        rows = [(p.kind, p.where, p.detail, p.fatal) for p in problems]
        (unfinished / "problems.json").write_text(json.dumps({"left_out": left_out, "problems": rows}))
        _remove_others(folder, older)
        try:
            unfinished.rename(folder)
        except OSError:
            if not _whole(folder, arrays):  # another process may have been first; a damaged one makes room
                shutil.rmtree(folder)
                unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def open_or_make(folder: Path, opened: Callable, make: Callable):
    """`opened()`, after `make()` where there is no index at `folder` yet, or a damaged one.

    Raises:
      UserError: it cannot be read though it was just made; what `opened` and `make` raise.
    """
    for just_made in (False, True):
        try:
            return opened()
        except UserError:  # has nothing to do with the arrays
            raise
        except _DAMAGED:
            if just_made:
                break
            make()
    raise UserError(f"{folder}: this index was written and cannot be read: is the disk full? Remove it, try again")


def _whole(folder: Path, names: Iterable[str]) -> bool:
    """Whether an index has all its arrays, none of them cut off."""
    try:
        json.loads((folder / "problems.json").read_text())
        return all(np.load(folder / f"{name}.npy", mmap_mode="r") is not None for name in names)
    except _DAMAGED:
        return False


def _remove_others(folder: Path, older: str) -> None:
    """Removes indices that match `older`, and what processes that were killed left behind a day ago or more."""
    for path in folder.parent.glob(older):
        if path != folder:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.parent.glob(f".{older}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path, ignore_errors=True)
