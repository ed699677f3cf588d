"""Writes result files: a folder with the boxes, times and scores of each finished sequence of one tracker.

`<name>.txt` has a line `x,y,w,h` for each frame, in 0-based pixels, as other tools read it; `<name>_time.txt` has the
seconds of each frame, `<name>_score.txt` its score, the first one 1. Files are written whole when their sequence is
finished, so a sequence with files is done, however the evaluation ended. `run.json` prevents that results of different
weights or options are mixed.

`write_release_files` adds copies as the release writes them: whole numbers, separated by tabs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import jax
import numpy as np

from relo_jax.config import base, flatten
from relo_jax.config.renamed import with_current_names
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.metrics import whole_numbers
from relo_jax.files import atomic_write, make_folder
from relo_jax.model import RELO

RUN_FILE = "run.json"
_IN_NO_FILE = ("tracker.found_threshold", "tracker.found_frames")  # change neither boxes nor scores
RELEASE_FOLDER = "release"  # of copies, inside the folder of results
_RELEASE_PREFIXES = {"nfs": "nfs_", "uav123": "uav_"}  # of the release's names for sequences, by dataset
SUFFIXES = ("_time.txt", "_score.txt", ".txt")  # of a sequence's files, in the order of writing


def fingerprint(model: RELO, variables: dict, options: dict) -> dict:
    """What determines the boxes, JSON-able: the model's fields, the tracker's options, a hash of the weights."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        array = np.ascontiguousarray(jax.device_get(leaf))
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return {"model": model.config.to_dict(), "tracker": dict(options), "weights": digest.hexdigest()}


class ResultFolder:
    """The folder of an evaluation's results; created if it does not exist.

    Args:
      path: the folder.
      made_by: of `fingerprint`.

    Raises:
      UserError: the folder has another tracker's results, was not made by an evaluation, or cannot be written.
    """

    def __init__(self, path: Path, made_by: dict):
        self.path = path
        run = path / RUN_FILE
        if run.exists():
            _check_same(run, made_by)
            return
        if path.exists() and (not path.is_dir() or any(path.glob("*.txt"))):
            raise UserError(f"{path} exists and is not a folder of results (it has no {RUN_FILE}): name another one")
        make_folder(path)
        with atomic_write(run) as file:
            file.write_text(json.dumps(made_by, indent=2) + "\n")

    def read(self, sequence: Sequence) -> np.ndarray | None:
        """The boxes of a finished sequence, float64 [F, 4]; None if there is no result that fits the sequence."""
        try:
            lines = (self.path / f"{sequence.name}.txt").read_text().splitlines()
            boxes = np.array([[float(v) for v in line.split(",")] for line in lines])
        except (OSError, ValueError):
            return None
        fits = boxes.shape == (len(sequence), 4) and np.allclose(boxes[0], sequence.boxes_xywh[0], rtol=0, atol=1e-3)
        return boxes if fits and np.isfinite(boxes).all() and (boxes[:, 2:] >= 0).all() else None

    def frames_per_second(self, sequences: Iterable[Sequence]) -> float:
        """Frames of these sequences over the seconds that they took in all sessions; NaN without files of times."""
        frames, seconds = 0, 0.0
        for sequence in sequences:
            try:
                times = np.loadtxt(self.path / f"{sequence.name}_time.txt", ndmin=1)
            except (OSError, ValueError):
                continue
            frames, seconds = frames + len(sequence), seconds + float(times.sum())
        return frames / seconds if seconds > 0 and math.isfinite(seconds) else math.nan

    def write(self, name: str, boxes_xywh: np.ndarray, scores: np.ndarray, seconds: np.ndarray) -> None:
        """Writes the three files of a sequence, the boxes last: they mark it as finished."""
        for suffix, rows, form in zip(SUFFIXES, (seconds, scores, boxes_xywh), ("%.6f", "%.6f", "%.4f"), strict=True):
            with atomic_write(self.path / f"{name}{suffix}") as file:
                np.savetxt(file, rows, fmt=form, delimiter=",")


def write_release_files(folder: Path, boxes: Mapping[str, np.ndarray], dataset: str | None = None) -> Path:
    """Writes copies of results as the release writes them, for its own tools and those of pytracking's descendants.

    `<name>.txt` has boxes truncated to whole numbers and separated by tabs, `<name>_time.txt` the seconds of each
    frame, if `folder` has a file of them. NFS and UAV123 have pytracking's names (`nfs_bee`, `uav_bike1`).

    Args:
      folder: of the results; the copies go into its folder `release`, over those of before.
      boxes: name of a sequence -> [F, 4], pixels.
      dataset: name of the dataset.

    Returns:
      The folder of the copies.

    Raises:
      UserError: cannot be written.
    """
    out = folder / RELEASE_FOLDER
    make_folder(out)
    for name, boxes_xywh in boxes.items():
        own = f"{_RELEASE_PREFIXES.get(dataset or '', '')}{name}"
        times = folder / f"{name}_time.txt"
        if times.is_file():
            with atomic_write(out / f"{own}_time.txt") as file:
                file.write_bytes(times.read_bytes())
        with atomic_write(out / f"{own}.txt") as file:
            np.savetxt(file, whole_numbers(boxes_xywh), fmt="%d", delimiter="\t")
    return out


def check_names(sequences: Iterable[Sequence]) -> None:
    """Raises UserError if two sequences would write the same file, or one would write outside the folder."""
    files: dict[str, str] = {}
    for sequence in sequences:
        if not sequence.name or "/" in sequence.name or "\\" in sequence.name:
            raise UserError(f"sequence name {sequence.name!r} is not a file name: rename it")
        for file in (f"{sequence.name}{suffix}" for suffix in SUFFIXES):
            if file in files:
                raise UserError(f"sequences {files[file]!r} and {sequence.name!r} both write {file}: rename one")
            files[file] = sequence.name


def _check_same(run: Path, made_by: dict) -> None:
    try:
        before = flatten(with_current_names(dict(json.loads(run.read_text())), run))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{run} cannot be read ({error}): remove {run.parent}, or name another folder") from None
    now = flatten(json.loads(json.dumps(made_by)))  # tuples become lists, as in the file
    # The folder may be older than a field, which then had its default.
    before = {name: value for name, value in flatten(base()).items() if name in now and value is not None} | before
    for name in sorted({*before, *now}.difference(_IN_NO_FILE)):
        if before.get(name) != now.get(name):
            was, be = (str(tree.get(name, "nothing"))[:12] for tree in (before, now))
            raise UserError(
                f"{run.parent} has results of another tracker ({name} was {was}, is {be}): "
                "name another folder, or remove this one"
            )
