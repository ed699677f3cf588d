"""An index on disk: a folder of arrays and a list of problems, written whole or not at all.

Raise `INDEX_VERSION` in every commit that changes how annotations are read or stored: older indices are then rebuilt.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from relo_jax.data.datasets.frame_names import FrameNames
from relo_jax.data.datasets.layout import Annotation, Problem
from relo_jax.errors import UserError

INDEX_VERSION = 2
ANY_NAME = "surrogateescape"  # error handler for file names that are not UTF-8, as Python decodes them

# Reading an incomplete index raises one of these: it is cut off, or empty after a power failure.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError)
_DAY = 24 * 3600  # seconds

Opened = TypeVar("Opened")


class IndexWriter:
    """Collects the annotations of a dataset in memory and writes them as an index.

    Attributes:
      problems: of all sequences, and of the dataset.
      left_out: number of sequences that have a fatal problem and are not in the index.
    """

    def __init__(self) -> None:
        self._text: list[bytes] = []
        self._boxes: list[np.ndarray] = []
        self._visible: list[np.ndarray] = []
        self._shown: list[np.ndarray] = []
        self._still: list[bool] = []
        self.problems: list[Problem] = []
        self.left_out = 0

    def add(self, annotation: Annotation) -> None:
        """Adds a sequence, or only counts it and its problems if it cannot be used."""
        self.problems += annotation.problems
        if not annotation.usable:
            self.left_out += 1
            return
        frames = FrameNames.compress(annotation.frames)
        text = "\0".join((annotation.name, annotation.folder, annotation.category or "", frames))
        self._text.append(text.encode(errors=ANY_NAME))
        self._boxes.append(annotation.boxes_xywh)
        self._visible.append(annotation.visible)
        self._shown.append(annotation.visible if annotation.shown is None else annotation.shown)
        self._still.append(annotation.still)

    def save(self, folder: Path, older: str, **arrays: np.ndarray) -> None:
        """Writes the index to `folder` and removes the indices next to it that match the glob pattern `older`.

        It is written under another name and then renamed. So a crash leaves nothing that looks like an index, and if
        two processes build the same index, the first to finish wins.

        Args:
          arrays: further arrays to store, by name.

        Raises:
          UserError: the index cannot be written.
        """
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            arrays = self._arrays() | arrays
            for name, values in arrays.items():
                np.save(unfinished / f"{name}.npy", values)
            rows = [(p.kind, p.where, p.detail, p.fatal) for p in self.problems]
            (unfinished / "problems.json").write_text(json.dumps({"left_out": self.left_out, "problems": rows}))
            _remove_others(folder, older)
            try:
                unfinished.rename(folder)
            except OSError:  # another process was first, or a damaged index is in the way
                if not _is_whole(folder, arrays):
                    shutil.rmtree(folder)
                    unfinished.rename(folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _arrays(self) -> dict[str, np.ndarray]:
        starts = lambda parts: np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return {
            "boxes": np.concatenate([np.zeros((0, 4)), *self._boxes]),
            "visible": np.concatenate([np.zeros(0, bool), *self._visible]),
            "shown": np.concatenate([np.zeros(0, bool), *self._shown]),
            "start": starts(self._boxes),
            "text": np.frombuffer(b"".join(self._text), np.uint8),
            "text_start": starts(self._text),
            "visible_count": np.array([np.count_nonzero(v) for v in self._visible], np.int64),
            "still": np.array(self._still, bool),
        }


def open_or_build(folder: Path, open_index: Callable[[], Opened], build: Callable[[], None]) -> Opened:
    """`open_index()`; runs `build()` first if there is no index at `folder`, or a damaged one.

    Raises:
      UserError: the index cannot be read just after it was built; or raised by `open_index` or `build`.
    """
    for just_built in (False, True):
        try:
            return open_index()
        except UserError:  # unrelated to the stored arrays
            raise
        except _DAMAGED:
            if just_built:
                break
            build()
    raise UserError(f"{folder}: this index was written but cannot be read: is the disk full? Remove it and try again")


def _is_whole(folder: Path, names: Iterable[str]) -> bool:
    """Whether an index has all its arrays, and none is cut off."""
    try:
        json.loads((folder / "problems.json").read_text())
        return all(np.load(folder / f"{name}.npy", mmap_mode="r") is not None for name in names)
    except _DAMAGED:
        return False


def _remove_others(folder: Path, older: str) -> None:
    """Removes indices that match `older`, and unfinished ones that killed processes left at least a day ago."""
    for path in folder.parent.glob(older):
        if path != folder:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.parent.glob(f".{older}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path, ignore_errors=True)
