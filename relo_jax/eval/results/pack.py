"""Packs results as the zip that an evaluation server takes, after checking every file.

    relo pack got10k results/b256/got10k --out relo_b256.zip --data-root /data

Boxes become whole numbers, as in the zips behind published numbers: the release truncates boxes when it writes them.

A server reports mistakes late or not at all. So every file is read first, and nothing is written if one is missing, has
the wrong number of boxes or belongs to no sequence. Packing the same results twice gives the same bytes.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.annotations import read_text
from relo_jax.data.datasets.layout import ENVIRONMENT
from relo_jax.errors import UserError, did_you_mean
from relo_jax.eval.benchmarks import open_benchmark, published_names
from relo_jax.eval.metrics import whole_numbers
from relo_jax.eval.results.box_kinds import MIXED, WHOLE, box_kind
from relo_jax.eval.results.read import beside, find_results, match_results, read_result, read_times
from relo_jax.eval.servers import SERVERS, Server
from relo_jax.files import atomic_write

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can have


@dataclass(frozen=True)
class Packed:
    """A written pack.

    sequences, boxes: their numbers. checked: the sequences whose number of frames was checked. what: whether the boxes
    are whole numbers or have fractions, as a line. notes: what is unusual.
    """

    sequences: int
    boxes: int
    checked: int
    what: str
    notes: tuple[str, ...]


class PackError(UserError):
    """Results that cannot be packed; problems: one line each."""

    def __init__(self, message: str, problems: list[str]):
        super().__init__(message)
        self.problems = problems


def pack(
    server: str,
    results: str | Path,
    out: str | Path,
    data_root: str | Path | None = None,
    float_boxes: bool = False,
) -> Packed:
    """Checks the results of a test split and writes the zip for its server.

    Args:
      server: one of `SERVERS`.
      results: folder of a tracker's results, in any layout that `find_results` knows.
      out: the zip; an existing one is replaced.
      data_root: the dataset's folder or its parent, for the number of frames and the first box of each sequence. None
        takes RELO_DATA_DIR; neither is checked if the dataset is not there.
      float_boxes: keep the fractions of boxes, to four decimals, in place of truncated boxes.

    Raises:
      PackError: files are missing, wrong, or belong to no sequence of the split; with `float_boxes`, some files have
        whole numbers and others fractions; nothing is written.
      UserError: unknown server, no folder of results, a dataset that cannot be read, a zip that cannot be written.
    """
    if server not in SERVERS:
        raise UserError(f"no evaluation server takes {server!r}{did_you_mean(server, SERVERS)}")
    kind, out = SERVERS[server], Path(out)
    if out.suffix != ".zip":
        raise UserError(f"{out}: the server takes a zip: give a name ending in .zip")
    firsts, notes = _first_boxes(server, data_root)
    layout = layouts.dataset_layout(server)
    names = published_names(layout, "test")
    matched, extra = match_results(names, find_results(results, (server, *layout.folders)))
    extra = [name for name in extra if not name.startswith(tuple(f"{known}_" for known in names))]  # times alone
    problems: list[str] = []
    tables: dict[str, np.ndarray] = {}
    times: dict[str, np.ndarray] = {}
    for name, path in matched.items():
        try:
            tables[name], seconds, unusual = _read(kind, path, firsts.get(name))
        except UserError as error:
            problems.append(str(error))
            continue
        notes += [f"{name}: {note}" for note in unusual]
        if seconds is not None:
            times[name] = seconds
    problems += [f"{name}: is not a sequence of {kind.title}'s test split: move its file elsewhere" for name in extra]
    problems += [f"{name}: has no result" for name in names if name not in matched]
    if problems:
        count = f"{len(problems)} files" if len(problems) > 1 else "a file"
        raise PackError(f"{out} was not written: {count} of {kind.title}'s test split missing or wrong", problems)
    what, mixed = _described(tables, matched, float_boxes)
    if mixed and float_boxes:
        raise PackError(f"{out} was not written: results of two runs?", [mixed])
    _write(out, _files(kind, tables, times, float_boxes))
    boxes, checked = sum(map(len, tables.values())), len(firsts.keys() & matched.keys())
    return Packed(len(matched), boxes, checked, what, (*([mixed] if mixed else []), *notes))


def _first_boxes(server: str, data_root: str | Path | None) -> tuple[dict[str, tuple[int, np.ndarray]], list[str]]:
    """Name -> number of frames and first box, for the sequences on this machine; and notes."""
    if not data_root and not os.environ.get(ENVIRONMENT):
        return {}, []
    try:
        benchmark = open_benchmark(server, data_root, "test")
    except UserError as error:
        if data_root:
            raise
        return {}, [f"not checked against the frames: {error}"]
    return {s.name: (len(s), s.boxes_xywh[0]) for s in benchmark}, []


def _read(
    kind: Server, path: Path, first: tuple[int, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Boxes [F, 4], seconds [F] or None, and notes of one sequence."""
    frames, start = first or (len(read_text(path).rstrip().splitlines()), None)
    result = read_result(path, frames, first=start)
    if not kind.times:
        return result.boxes_xywh, None, result.notes
    times = beside(path, "time")
    if times is None:
        raise UserError(f"{path}: has no file of times beside it: {kind.title} takes the seconds of every frame")
    seconds = read_times(times, frames)
    if not (seconds > 0).any():
        raise UserError(f"{times}: no frame took any time: {kind.title} computes the speed from it")
    return result.boxes_xywh, seconds, result.notes


def _described(tables: dict[str, np.ndarray], paths: dict[str, Path], float_boxes: bool) -> tuple[str, str | None]:
    """What the zip's boxes are, and a line if some files have whole numbers and others fractions."""
    found, mixed = box_kind(tables), None
    if found.kind == MIXED and found.whole and found.fractions:
        remedy = "evaluate again into a new folder, or leave out --float-boxes" if float_boxes else "all are truncated"
        mixed = f"{paths[found.whole]} has whole numbers, {paths[found.fractions].name} fractions: {remedy}"
    if found.kind == WHOLE:
        return "whole-number boxes, as the results have them", mixed
    if float_boxes:
        return "float boxes: published numbers are those of whole-number boxes, and lower", mixed
    return "whole-number boxes: truncated, as those behind published numbers", mixed


def _files(
    kind: Server, tables: dict[str, np.ndarray], times: dict[str, np.ndarray], float_boxes: bool
) -> dict[str, str]:
    """Path in the zip -> text, with the release's digits, or GOT-10k's toolkit's with `float_boxes`."""
    of_boxes, of_seconds = ("%.4f", "%.8f") if float_boxes else ("%d", "%.6f")
    files = {}
    for name, table in tables.items():
        files[kind.boxes.format(name)] = _lines(table if float_boxes else whole_numbers(table), of_boxes)
    for name, seconds in times.items():
        assert kind.times is not None  # otherwise no times were read
        files[kind.times.format(name)] = _lines(seconds[:, None], of_seconds)
    return files


def _lines(table: np.ndarray, form: str) -> str:
    return "".join(",".join(form % v for v in row) + "\n" for row in table)


def _write(out: Path, files: dict[str, str]) -> None:
    with atomic_write(out) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, text)
