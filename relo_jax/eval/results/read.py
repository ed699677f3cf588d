"""Reads the result files of any tracker.

Trackers write one text file for each sequence, with a box x,y,w,h for each frame; where the files lie differs between
code bases. `find_results` knows these layouts:

    <name>.txt                 pytracking, OSTrack, RELO, `relo eval`; beside it <name>_time.txt, <name>_score.txt
    <dataset>/<name>.txt       the same with a folder for each dataset (STARK, SeqTrack)
    <name>/<name>_001.txt      the GOT-10k toolkit on GOT-10k; beside it <name>_time.txt
    <name>.txt, times/...      the GOT-10k toolkit on other datasets

Numbers, with or without decimals, are separated by commas, tabs, blanks or semicolons. A file of boxes may also be in
MOT's form, with the frame and one id before each box. A file with a mistake is refused with the line, the value and the
remedy; something merely unusual becomes a note.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.errors import UserError
from relo_jax.eval.results import checks, mot_result

# Endings of other files that code bases write beside <name>.txt.
_BESIDE = ("_time", "_times", "_score", "_scores", "_all_boxes", "_all_scores", "_object_presence_scores",
           "_confidence")  # fmt: skip
_REPETITION = re.compile(r"(.+)_(\d{3})")
_PREFIXES = ("uav_", "nfs_", "tnl2k_", "otb_")  # of pytracking, on some datasets


@dataclass(frozen=True)
class ResultFile:
    """A tracker's boxes for one sequence, float64 [F, 4] in pixels, and notes on what is unusual about the file."""

    boxes_xywh: np.ndarray
    notes: tuple[str, ...] = ()


def find_results(folder: str | Path, dataset: Iterable[str] = ()) -> dict[str, Path]:
    """Name of a sequence -> file of its boxes, in the order of the names.

    Args:
      folder: of one tracker's results; if it has a folder for each dataset, either of the two.
      dataset: names that the dataset's folder may have; capitals and punctuation do not matter.

    Raises:
      UserError: no such folder, no results in it, or results of several datasets but not of this one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of results{_there(folder)}")
    wanted = {_plain(name) for name in dataset}
    inner = sorted(p for p in _listed(folder) if p.is_dir() and not p.name.startswith("."))
    chosen = next((p for p in inner if _plain(p.name) in wanted and _results_of(p)), None)
    found = _results_of(chosen or folder)
    if found:
        return found
    full = [p for p in inner if _results_of(p)]
    if len(full) == 1:
        return _results_of(full[0])
    if full:
        raise UserError(f"{folder}: has results in several folders ({_first_names(full)}): name one of them")
    raise UserError(f"{folder}: has no result files: expected <name>.txt, or <name>/<name>_001.txt")


def match_results(names: Iterable[str], found: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Matches files with sequences, by name or by pytracking's name.

    pytracking writes `uav_bike1`, `nfs_Gymnastics` and `Jogging_1` for bike1, Gymnastics and Jogging.1.

    Returns:
      Name of a sequence -> its file, for those that have one; and the names of the other files.
    """
    names = list(names)
    by_plain: dict[str, list[str]] = {}
    for file in found:
        bare = next((file[len(p) :] for p in _PREFIXES if file.lower().startswith(p)), file)
        for key in {_plain(file), _plain(bare)}:
            by_plain.setdefault(key, []).append(file)
    matched = {}
    for name in names:
        near = by_plain.get(_plain(name), [])
        if name in found:
            matched[name] = name
        elif len(near) == 1 and near[0] not in names:
            matched[name] = near[0]
    used = set(matched.values())
    return {name: found[file] for name, file in matched.items()}, [file for file in found if file not in used]


def read_result(
    path: str | Path, frames: int, *, first: Iterable[float] | None = None, one_based: bool = False
) -> ResultFile:
    """Reads a file of boxes, one for each frame including the first.

    Args:
      path: the file.
      frames: F, the number of boxes that there must be.
      first: the true box_xywh of the first frame, from which every tracker starts; compared with the file's.
      one_based: the file counts pixels from 1, so that 1 is subtracted from x and y.

    Returns:
      The boxes, with notes if the first box differs from the truth (by exactly 1: counted from 1), if boxes have no
      area, and if the file is the first of several repetitions.

    Raises:
      UserError: the file cannot be read; a line without four numbers; more or fewer boxes than frames; a number that is
        not finite or too large; a negative size; x1,y1,x2,y2 instead of x,y,w,h (seen from the first box); a first box
        far from the true one.
    """
    path = Path(path)
    if mot_result.is_mot(path):
        table, notes = mot_result.read(path, frames)
    else:
        table, notes = checks.numbers(path, columns=4, form="x,y,w,h"), []
        checks.check_finite(path, table)
        checks.check_count(path, len(table), frames, "boxes")
    if first is not None:
        checks.check_format(path, table[0], np.array(first, np.float64))
    checks.check_sizes(path, table)
    table -= np.array([one_based, one_based, 0, 0])
    return ResultFile(table, (*notes, *_notes(path, table, first)))


def read_times(path: str | Path, frames: int) -> np.ndarray:
    """The seconds of every frame, float64 [F]: the first column of a file of times (see `beside`).

    Raises:
      UserError: the file cannot be read, has another number of lines, or a value that is not a time.
    """
    return _one_column(Path(path), frames, "times", "seconds", math.inf)


def read_scores(path: str | Path, frames: int) -> np.ndarray:
    """The score of every frame, float64 [F] in [0, 1]; as `read_times`."""
    return _one_column(Path(path), frames, "scores", "a score from 0 to 1", 1.0)


def beside(path: str | Path, what: str) -> Path | None:
    """The file of times (`what` is "time") or scores ("score") that belongs to a file of boxes; None without one."""
    path = Path(path)
    repeated = _REPETITION.fullmatch(path.stem)
    stem = repeated[1] if repeated and repeated[1] == path.parent.name else path.stem
    places = (path.parent / f"{stem}_{what}.txt", path.parent / f"{what}s" / f"{stem}_{what}.txt")
    return next((place for place in places if place.is_file()), None)


def _results_of(folder: Path) -> dict[str, Path]:
    """The files of boxes in a folder, or in its folders of single sequences."""
    inside = _listed(folder)
    flat = {p.stem: p for p in inside if p.suffix == ".txt" and p.is_file() and not p.name.startswith(".")}
    found = {name: path for name, path in flat.items() if not _is_beside(name, flat)}
    for inner in inside:
        path = inner / f"{inner.name}_001.txt"
        if inner.name not in found and path.is_file():
            found[inner.name] = path
    return dict(sorted(found.items()))


def _there(folder: Path) -> str:
    """A hint at the folders of results beside one that does not exist."""
    try:
        there = [p for p in _listed(folder.parent) if p.is_dir() and not p.name.startswith(".") and _results_of(p)]
    except (OSError, ValueError):  # a parent that does not exist either, or cannot be listed
        return ""
    return f" ({folder.parent} has {_first_names(sorted(there))})" if there else ""


def _first_names(folders: list[Path]) -> str:
    return ", ".join(p.name for p in folders[:6]) + (" ..." if len(folders) > 6 else "")


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}): check its permissions") from None


def _is_beside(name: str, names: Iterable[str]) -> bool:
    """Whether a file has something other than boxes, of a sequence whose boxes are there too."""
    return any(name.endswith(end) and name[: -len(end)] in names for end in _BESIDE)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _notes(path: Path, table: np.ndarray, first: Iterable[float] | None) -> Iterable[str]:
    if first is not None:
        off = table[0] - np.array(first, np.float64)
        if np.abs(off - [1, 1, 0, 0]).max() < 1e-3:
            yield "its first box is the true one with 1 added to x and y: are pixels counted from 1?"
        elif np.abs(off).max() > checks.SAME:
            yield f"its first box differs from the true one by up to {np.abs(off).max():.1f} pixels"
    flat = int((table[:, 2:] == 0).any(1).sum())
    if flat:
        yield f"{flat} of {len(table)} boxes have no area"
    repeated = _REPETITION.fullmatch(path.stem)
    if repeated and repeated[1] == path.parent.name:
        others = [p for p in path.parent.glob("*.txt") if (m := _REPETITION.fullmatch(p.stem)) and m[1] == repeated[1]]
        if len(others) > 1:
            yield f"the first of {len(others)} repetitions; the others are not read"


def _one_column(path: Path, frames: int, what: str, form: str, most: float) -> np.ndarray:
    values = checks.numbers(path, None, form)[:, 0]
    checks.check_count(path, len(values), frames, what)
    checks.check_range(path, values, most, form)
    return values
