"""`relo data build`: writes a dataset in TFDS's format, continues interrupted builds, and verifies what it wrote.

    DIR/lasot/frames/1.0.0/      lasot-train.array_record-00000-of-00512 ..., dataset_info.json, features.json
    DIR/lasot/sequences/1.0.0/   the same; its dataset_info.json is written last and marks the split as finished

A shard is written to a scratch folder, read back and compared with the folders, moved into place and noted in
`shards-SPLIT/`. A noted shard is not written again. Running the command on a finished split reads every byte of it and
replaces damaged shards.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from relo_jax.bars import tqdm
from relo_jax.data.datasets.index import DEFAULT_CACHE, FolderDataset, open_dataset
from relo_jax.data.datasets.layout import DatasetLayout, Problem
from relo_jax.data.records import shard as tfds_shard
from relo_jax.data.records import tfds as tfds_builder
from relo_jax.data.records import tiled_jpeg
from relo_jax.data.records.examples import KINDS, SplitExamples, digest, threaded_map
from relo_jax.data.records.read import config_folder, listed_splits, plan_file, shard_name
from relo_jax.errors import UserError

if TYPE_CHECKING:
    from etils import epath

SHARD_MIB = 256
_SHARDS_AT_ONCE = min(8, os.cpu_count() or 1)  # checksums and the ArrayRecord library release Python's lock


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
      frames: number of images.
      tiled: number of images stored as tiled JPEG.
      shards: number of shards "written" and "kept".
      damaged: paths of shards that had changed since they were written and were replaced.
      problems: of the dataset, its annotations and its images.
    """

    dataset: FolderDataset
    frames: int
    tiled: int = 0
    shards: Counter = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        shards = " and ".join(f"{count} {state}" for state, count in self.shards.items())
        form = f"{self.tiled:,} of them tiled JPEG" if self.tiled else "unchanged"
        lines = [f"{self.dataset.summary()}; {self.frames:,} images, {form}; shards: {shards}, all verified"]
        notes = [p for p in self.problems if not p.fatal]
        for kind, count in Counter(p.kind for p in notes).items():
            first = next(p for p in notes if p.kind == kind)
            lines.append(f"{self.dataset.name}: {count:,} {kind}, stored unchanged; the first: {first}")
        lines += [f"{path}: had changed since it was written; replaced" for path in self.damaged]
        return "\n".join(lines)


def build(
    layout: DatasetLayout,
    split: str,
    out: str | Path,
    root: str | Path | None = None,
    shard_mib: float = SHARD_MIB,
    cache: str | Path = DEFAULT_CACHE,
    tiles: bool = False,
) -> BuildReport:
    """Writes the missing shards of one split below `out` and verifies all of them.

    Args:
      out: folder of built datasets, local or gs://.
      root, cache: see `open_dataset`.
      shard_mib: approximate size of a shard.
      tiles: whether to store tiled JPEG, of which training decodes only the tiles it needs (`tiled_jpeg`).

    Raises:
      UserError: see `open_dataset`; `out` cannot be written, or has this split from other data; another process builds
        the dataset there; a shard does not read back; tiles without jpegtran.
    """
    from etils import epath

    if not 1 / 1024 <= shard_mib <= 1 << 20:
        raise UserError(f"--shard-mib {shard_mib:g}: give a size in MiB, from a KiB to a TiB")
    if tiles:
        tiled_jpeg.check_program()
    examples = SplitExamples(open_dataset(layout, split, root, cache), tiles)
    try:
        folder = epath.Path(out)
        with _exclusive_scratch(folder / layout.name) as scratch:
            return _Build(examples, split, folder, scratch, shard_mib).run()
    except ImportError as error:
        raise UserError(f"{out}: cannot be reached: {error}: pip install 'relo-jax[cloud]'") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"{out}: cannot be written: {error}") from error


@contextlib.contextmanager
def _exclusive_scratch(folder: epath.Path) -> Iterator[Path]:
    """An empty folder for unfinished files. It is inside a local `folder`, so that finished files are only renamed.

    Raises:
      UserError: another process builds there.
    """
    if not tfds_shard.is_local(folder):
        with tempfile.TemporaryDirectory(prefix="relo-build-") as temporary:
            yield Path(temporary)
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is building there: wait for it, or end it") from None
        scratch = Path(folder) / ".unfinished"
        shutil.rmtree(scratch, ignore_errors=True)  # left by a killed process
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


class _Build:
    """The build of one split."""

    def __init__(self, examples: SplitExamples, split: str, out: epath.Path, scratch: Path, shard_mib: float):
        self.examples, self.split, self.scratch, self.name = examples, split, scratch, examples.dataset.layout.name
        self.bounds = {kind: examples.shards(kind, int(shard_mib * 2**20)) for kind in KINDS}
        self.folders = {kind: config_folder(out, self.name, kind) for kind in KINDS}
        self.finished = all(split in listed_splits(folder) for folder in self.folders.values())
        self.report = BuildReport(examples.dataset, examples.counts["frames"])

    def run(self) -> BuildReport:
        plan = self._plan()
        for kind in KINDS:
            self._prepare(kind, plan)
        notes = {kind: self._write_shards(kind) for kind in KINDS}
        for kind in KINDS:
            self._publish(kind, notes[kind])
        image_problems = [Problem(*row) for note in notes["frames"] for row in note["problems"]]
        self.report.tiled = sum(note["tiled"] for note in notes["frames"])
        self.report.problems = self.examples.dataset.problems + image_problems
        return self.report

    def _plan(self) -> str:
        """A digest of everything that decides the content of shards, except for the images."""
        state = hashlib.blake2b(json.dumps([self.bounds, self.examples.tiles]).encode(), digest_size=16)
        for number in range(self.examples.counts["sequences"]):
            folder, names = self.examples.dataset.files(number)
            state.update(digest(self.examples.example("sequences", number)[0]))
            state.update(f"{folder}\0{names[0]}\0{names[len(names) - 1]}\0".encode())
        return state.hexdigest()

    def _prepare(self, kind: str, plan: str) -> None:
        """Removes the files of an unfinished build with another plan.

        Raises:
          UserError: a finished build has another plan.
        """
        folder = self.folders[kind]
        file = plan_file(folder, self.split)
        if file.exists() and file.read_text() == plan:
            return
        if self.split in listed_splits(folder):
            raise UserError(
                f"{folder}: has the {self.split} split, from other data or with another --shard-mib, --tiles or "
                "--smallest-side: remove it, or give another --out"
            )
        if file.parent.exists():
            file.parent.rmtree()
            for old in folder.glob(f"{self.name}-{self.split}.array_record-*"):
                old.unlink()
        file.parent.mkdir(parents=True, exist_ok=True)
        tfds_shard.write_text(file, plan, self.scratch)

    def _write_shards(self, kind: str) -> list[dict]:
        """Writes the missing shards of a config, several at a time. Returns the notes of all shards."""
        bounds, notes = self.bounds[kind], []
        title = f"{self.examples.dataset.name} {kind}"
        with tqdm(total=bounds[-1], desc=title, unit=f" {kind}", mininterval=1) as bar:
            lock, stopped = threading.Lock(), threading.Event()

            def advance(count: int = 1, work: bool = True) -> None:
                if stopped.is_set():
                    raise CancelledError  # interrupted, or another shard failed: half a shard is useless
                with lock:
                    if not work:  # it would distort the rate and the remaining time
                        bar.initial += count
                    bar.update(count)

            write = lambda number: self._write_shard(kind, number, advance)
            numbers = range(len(bounds) - 1)
            for note, path, state in threaded_map(write, numbers, _SHARDS_AT_ONCE, _SHARDS_AT_ONCE, stopped.set):
                notes.append(note)
                self.report.shards["kept" if state == "kept" else "written"] += 1
                if state == "damaged":
                    self.report.damaged.append(str(path))
        return notes

    def _write_shard(self, kind: str, number: int, advance: Callable[..., None]) -> tuple[dict, epath.Path, str]:
        """Writes one shard if necessary. Returns its note, its path, and whether it was kept, missing or damaged."""
        bounds, folder = self.bounds[kind], self.folders[kind]
        path = folder / shard_name(self.name, self.split, number, len(bounds) - 1)
        note_file = plan_file(folder, self.split).with_name(f"{number:05d}.json")
        numbers = range(bounds[number], bounds[number + 1])
        note = json.loads(note_file.read_text()) if note_file.exists() else None
        if note and tfds_shard.is_intact(path, note, thorough=self.finished):
            advance(len(numbers), work=self.finished)
            return note, path, "kept"
        state = "damaged" if note and path.exists() else "missing"
        unfinished = self.scratch / path.name
        note = tfds_shard.write(self.examples, kind, numbers, unfinished, advance)
        tfds_shard.move(unfinished, path, note)
        tfds_shard.write_text(note_file, json.dumps(note), self.scratch)
        return note, path, state

    def _publish(self, kind: str, notes: list[dict]) -> None:
        """Writes the files by which TFDS finds the split. dataset_info.json, which lists it, comes last."""
        import tensorflow_datasets as tfds

        folder = self.folders[kind]
        info = tfds.core.DatasetInfo(
            builder=tfds_builder.identity(self.name, kind, folder), **tfds_builder.info_fields(self.name, kind)
        )
        info.set_file_format("array_record")
        splits = listed_splits(folder)
        splits[self.split] = [note["records"] for note in notes], sum(note["record_bytes"] for note in notes)
        files = {"dataset_name": self.name, "data_dir": folder, "filetype_suffix": "array_record"}
        infos = [
            tfds.core.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=size,
                filename_template=tfds.core.ShardedFileTemplate(split=split, **files),
            )
            for split, (lengths, size) in sorted(splits.items())
        ]  # fmt: skip
        info.set_splits(tfds.core.SplitDict(infos))
        metadata = folder / "metadata.json"
        info.metadata.update(json.loads(metadata.read_text()) if metadata.exists() else {})
        problems = [Problem(*row) for note in notes for row in note["problems"]]
        info.metadata[self.split] = tfds_builder.split_metadata(self.examples, kind, problems)
        written = self.scratch / f"info-{kind}"
        written.mkdir()
        info.write_to_directory(written)
        for file in sorted(written.iterdir(), key=lambda file: file.name == "dataset_info.json"):
            tfds_shard.write_text(folder / file.name, file.read_text(), self.scratch)
