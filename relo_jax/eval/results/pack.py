"""Packs: results as the zip that an evaluation server takes, checked before it is written.

    relo pack got10k results/b256/got10k --out relo_b256.zip --data-root /data

The boxes of these test splits are with a server alone. What it does not understand it answers late or not at all, so
that here every file is read, and one that is missing, short, of no sequence or without a number is named; then nothing
is written. Two packs of the same results are the same bytes.

GOT-10k (the toolkit's ExperimentGOT10k.report): <name>/<name>_001.txt with x,y,w,h a frame and <name>/<name>_time.txt
with seconds a frame. TrackingNet (metrics.py of its development kit): <name>.txt with x,y,w,h a frame.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.data.datasets import layouts, split_lists
from relo_jax.data.datasets.annotations import read_text
from relo_jax.data.datasets.layout import ENVIRONMENT
from relo_jax.errors import UserError
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.eval.results.read import beside, find_results, match_results, read_result, read_times
from relo_jax.files import atomic_write

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip knows


@dataclass(frozen=True)
class Server:
    """What a server takes. boxes, times: path in the zip of a sequence's boxes and of its times, None for no times."""

    title: str
    where: str
    names: Callable[[], list[str]]
    boxes: str
    times: str | None


SERVERS = {
    "got10k": Server(
        "GOT-10k", "http://got-10k.aitestunion.com",
        lambda: [f"GOT-10k_Test_{number:06d}" for number in range(1, 181)],
        boxes="{0}/{0}_001.txt", times="{0}/{0}_time.txt",
    ),
    "trackingnet": Server(
        "TrackingNet", "http://eval.tracking-net.org",
        lambda: split_lists.official("trackingnet", "test.txt"),
        boxes="{0}.txt", times=None,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Packed:
    """What was packed. counted: of how many sequences the dataset said how many frames they have; notes: lines."""

    sequences: int
    boxes: int
    counted: int
    notes: tuple[str, ...]


class PackError(UserError):
    """Results that cannot be packed; problems: one line each."""

    def __init__(self, message: str, problems: list[str]):
        super().__init__(message)
        self.problems = problems


def pack(server: str, results: str | Path, out: str | Path, data_root: str | Path | None = None) -> Packed:
    """Checks the results of a test split and writes the zip for its server.

    Args:
      server: one of `SERVERS`.
      results: folder of a tracker's results, in any layout that `find_results` knows.
      out: the zip; replaced where there is one.
      data_root: the dataset's folder, or the one it is in, which says how many frames a sequence has and from which
        box it starts. None takes RELO_DATA_DIR, and checks neither where the dataset is not there.

    Raises:
      PackError: files are missing, of no sequence of the split, or wrong; nothing is written.
      UserError: unknown server, no folder of results, a dataset that cannot be read, a zip that cannot be written.
    """
    if server not in SERVERS:
        raise UserError(f"no pack for {server!r}: known are {', '.join(SERVERS)}")
    kind, out = SERVERS[server], Path(out)
    if out.suffix != ".zip":
        raise UserError(f"{out}: the server takes a zip: give a name that ends in .zip")
    firsts, notes = _first_boxes(server, data_root)
    names = kind.names()
    found, extra = match_results(names, find_results(results, (server, *layouts.dataset_layout(server).folders)))
    extra = [name for name in extra if not name.startswith(tuple(f"{known}_" for known in names))]  # times alone
    problems, files, boxes = [], {}, 0
    for name, path in found.items():
        try:
            table, seconds, odd = _read(kind, path, firsts.get(name))
        except UserError as error:
            problems.append(str(error))
            continue
        notes += [f"{name}: {note}" for note in odd]
        files[kind.boxes.format(name)] = _lines(table, "%.4f")
        if kind.times:
            files[kind.times.format(name)] = _lines(seconds[:, None], "%.8f")
        boxes += len(table)
    problems += [f"{name}: is no sequence of {kind.title}'s test split: move its file elsewhere" for name in extra]
    problems += [f"{name}: has no result" for name in names if name not in found]
    if problems:
        count = f"{len(problems)} files" if len(problems) > 1 else "a file"
        raise PackError(f"{out} was not written: {count} of {kind.title}'s test split missing or wrong", problems)
    _write(out, files)
    return Packed(len(found), boxes, len(firsts.keys() & found.keys()), tuple(notes))


def _first_boxes(server: str, data_root: str | Path | None) -> tuple[dict[str, tuple[int, np.ndarray]], list[str]]:
    """Name -> number of frames and first box, of the sequences that are on this machine; and notes."""
    if not data_root and not os.environ.get(ENVIRONMENT):
        return {}, []
    try:
        benchmark = open_benchmark(server, data_root, "test")
    except UserError as error:
        if data_root:
            raise
        return {}, [f"not checked against the frames: {error}"]
    return {s.name: (len(s), s.boxes_xywh[0]) for s in benchmark}, []


def _read(kind: Server, path: Path, first: tuple[int, np.ndarray] | None):
    """Boxes `[F, 4]`, seconds `[F]` or None, and notes of one sequence."""
    frames, start = first or (len(read_text(path).rstrip().splitlines()), None)
    result = read_result(path, frames, first=start)
    if not kind.times:
        return result.boxes_xywh, None, result.notes
    times = beside(path, "time")
    if times is None:
        raise UserError(f"{path}: has no file of times beside it: {kind.title} wants the seconds of every frame")
    seconds = read_times(times, frames)
    if not (seconds > 0).any():
        raise UserError(f"{times}: no frame took any time: {kind.title} computes the speed of it")
    return result.boxes_xywh, seconds, result.notes


def _lines(table: np.ndarray, form: str) -> str:
    return "".join(",".join(form % v for v in row) + "\n" for row in table)


def _write(out: Path, files: dict[str, str]) -> None:
    with atomic_write(out) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, text)
