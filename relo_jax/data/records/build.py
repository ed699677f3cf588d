"""`relo data build`: writes a dataset as TFDS has it, goes on where it was stopped, and checks what it wrote.

    DIR/lasot/frames/1.0.0/      lasot-train.array_record-00000-of-00512 ..., dataset_info.json, features.json
    DIR/lasot/sequences/1.0.0/   the same; its dataset_info.json is written last, and makes the split a built one

A shard is written beside its place, read back and compared with the folders, moved, and noted in `shards-SPLIT/`. What
is noted is not written again. Once a split is built, a run reads every byte of it and replaces what has changed.
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
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from relo_jax.data.datasets.index import DEFAULT_CACHE, FolderDataset, open_dataset
from relo_jax.data.datasets.layout import DatasetLayout, Problem
from relo_jax.data.records import shard as tfds_shard
from relo_jax.data.records import tfds as tfds_builder
from relo_jax.data.records import tiled_jpeg
from relo_jax.data.records.examples import KINDS, Records, digest, in_order
from relo_jax.data.records.read import config_folder, listed_splits, plan_note, shard_name
from relo_jax.errors import UserError

SHARD_MIB = 256
_SHARDS_AT_ONCE = min(8, os.cpu_count() or 1)  # checksums and the ArrayRecord library leave Python's lock alone


@dataclass
class Report:
    """What a build did. tiled: how many images are JPEG in tiles. shards: how many were "written" or "kept". damaged:
    shards that had changed since they were written, now replaced. problems: of the dataset, annotations and images."""

    dataset: FolderDataset
    frames: int
    tiled: int = 0
    shards: Counter = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        name = self.dataset.name
        done = " and ".join(f"{count} {how}" for how, count in self.shards.items())
        form = f"{self.tiled:,} of them JPEG in tiles" if self.tiled else "as they are"
        lines = [f"{self.dataset.summary()}; {self.frames:,} images, {form}, in shards, {done}, all checked"]
        for kind, count in Counter(p.kind for p in self.problems if not p.fatal).items():
            first = next(p for p in self.problems if p.kind == kind and not p.fatal)
            lines.append(f"{name}: {count:,} {kind}, kept as they are; the first: {first}")
        lines += [f"{path}: had changed since it was written, is written again" for path in self.damaged]
        return "\n".join(lines)


def build(
    source: DatasetLayout,
    split: str,
    out: str | Path,
    root: str | Path | None = None,
    shard_mib: float = SHARD_MIB,
    cache: str | Path = DEFAULT_CACHE,
    tiles: bool = False,
) -> Report:
    """Writes one split below `out` (a folder, or a gs:// path), or what is missing of it, and checks it.

    tiles: whether JPEGs are kept in tiles, of which training decodes only those that it needs (`tiled_jpeg`).

    Raises:
      UserError: what `open_dataset` raises; `out` cannot be written, or has the split from other data; another build of
        the dataset is running there; a shard does not read back; tiles without the program for them.
    """
    from etils import epath

    if not 1 / 1024 <= shard_mib <= 1 << 20:
        raise UserError(f"--shard-mib {shard_mib:g}: give a size in MiB, from a KiB to a TiB")
    if tiles:
        tiled_jpeg.check_program()
    records = Records(open_dataset(source, split, root, cache), tiles)
    try:
        out = epath.Path(out)
        with _alone(out / source.name) as scratch:
            return _Build(records, split, out, scratch, shard_mib).run()
    except ImportError as error:
        raise UserError(f"{out}: cannot be reached: {error}: pip install 'relo-jax[cloud]'") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"{out}: cannot be written: {error}") from error


@contextlib.contextmanager
def _alone(folder) -> Iterator[Path]:
    """An empty folder for unfinished files: in `folder` where it is local, so that a finished one is only renamed.

    Raises:
      UserError: another process builds there.
    """
    if not tfds_shard.is_local(folder):
        with tempfile.TemporaryDirectory(prefix="relo-build-") as scratch:
            yield Path(scratch)
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is building there: wait for it, or end it") from None
        scratch = Path(folder) / ".unfinished"
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


class _Build:
    """A split that is being built: what it comes from, what it is to become, and where."""

    def __init__(self, records: Records, split: str, out, scratch: Path, shard_mib: float):
        self.records, self.split, self.scratch, self.name = records, split, scratch, records.dataset.source.name
        self.bounds = {kind: records.shards(kind, int(shard_mib * 2**20)) for kind in KINDS}
        self.folders = {kind: config_folder(out, self.name, kind) for kind in KINDS}
        self.finished = all(split in listed_splits(folder) for folder in self.folders.values())
        self.report = Report(records.dataset, records.counts["frames"])

    def run(self) -> Report:
        plan = self._plan()
        for kind in KINDS:
            self._begin(kind, plan)
        shards = {kind: self._shards(kind) for kind in KINDS}
        for kind in KINDS:
            self._publish(kind, shards[kind])
        images = [Problem(*row) for shard in shards["frames"] for row in shard["problems"]]
        self.report.tiled = sum(shard["tiled"] for shard in shards["frames"])
        self.report.problems = self.records.dataset.problems + images
        return self.report

    def _plan(self) -> str:
        """A digest of everything that decides what is in a shard, but for the images."""
        state = hashlib.blake2b(json.dumps([self.bounds, self.records.tiles]).encode(), digest_size=16)
        for number in range(self.records.counts["sequences"]):
            folder, names = self.records.dataset.files(number)
            state.update(digest(self.records.example("sequences", number)[0]))
            state.update(f"{folder}\0{names[0]}\0{names[len(names) - 1]}\0".encode())
        return state.hexdigest()

    def _begin(self, kind: str, plan: str) -> None:
        """Clears away what an unfinished build by another plan left.

        Raises:
          UserError: a finished one is there.
        """
        folder = self.folders[kind]
        note = plan_note(folder, self.split)
        if note.exists() and note.read_text() == plan:
            return
        if self.split in listed_splits(folder):
            raise UserError(
                f"{folder}: has the {self.split} split, from other data or with another --shard-mib or --tiles: "
                "remove it, or give another --out"
            )
        if note.parent.exists():
            note.parent.rmtree()
            for old in folder.glob(f"{self.name}-{self.split}.array_record-*"):
                old.unlink()
        note.parent.mkdir(parents=True, exist_ok=True)
        tfds_shard.put(note, plan, self.scratch)

    def _shards(self, kind: str) -> list[dict]:
        """Writes the shards of a config that are not there, several at a time; what is noted of all."""
        bounds, noted = self.bounds[kind], []
        title = f"{self.records.dataset.name} {kind}"
        with tqdm(total=bounds[-1], desc=title, unit=f" {kind}", mininterval=1) as bar:
            one_at_a_time, over = threading.Lock(), threading.Event()

            def advance(count: int = 1, work: bool = True) -> None:
                if over.is_set():
                    raise CancelledError  # interrupted, or another shard failed: a half one is of no use
                with one_at_a_time:
                    if not work:  # it would spoil the rate and the time left
                        bar.initial += count
                    bar.update(count)

            write = lambda number: self._shard(kind, number, advance)
            for shard, path, how in in_order(write, range(len(bounds) - 1), _SHARDS_AT_ONCE, _SHARDS_AT_ONCE, over.set):
                noted.append(shard)
                self.report.shards["kept" if how == "kept" else "written"] += 1
                if how == "damaged":
                    self.report.damaged.append(str(path))
        return noted

    def _shard(self, kind: str, number: int, advance) -> tuple[dict, object, str]:
        """Sees to one shard: what is noted of it, its file, and whether it was "kept", "missing" or "damaged"."""
        bounds, folder = self.bounds[kind], self.folders[kind]
        path = folder / shard_name(self.name, self.split, number, len(bounds) - 1)
        note = plan_note(folder, self.split).with_name(f"{number:05d}.json")
        numbers = range(bounds[number], bounds[number + 1])
        shard = json.loads(note.read_text()) if note.exists() else None
        if shard and tfds_shard.as_noted(path, shard, thorough=self.finished):
            advance(len(numbers), work=self.finished)
            return shard, path, "kept"
        how = "damaged" if shard and path.exists() else "missing"
        part = self.scratch / path.name
        shard = tfds_shard.write(self.records, kind, numbers, part, advance)
        tfds_shard.move(part, path, shard)
        tfds_shard.put(note, json.dumps(shard), self.scratch)
        return shard, path, how

    def _publish(self, kind: str, shards: list[dict]) -> None:
        """Writes the files by which TFDS finds the split; dataset_info.json, which lists it, is the last."""
        import tensorflow_datasets as tfds

        folder = self.folders[kind]
        info = tfds.core.DatasetInfo(
            builder=tfds_builder.identity(self.name, kind, folder), **tfds_builder.describe(self.name, kind)
        )
        info.set_file_format("array_record")
        splits = listed_splits(folder)
        splits[self.split] = [s["records"] for s in shards], sum(s["record_bytes"] for s in shards)
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
        problems = [Problem(*row) for shard in shards for row in shard["problems"]]
        info.metadata[self.split] = tfds_builder.report(self.records, kind, problems)
        written = self.scratch / f"info-{kind}"
        written.mkdir()
        info.write_to_directory(written)
        for file in sorted(written.iterdir(), key=lambda file: file.name == "dataset_info.json"):
            tfds_shard.put(folder / file.name, file.read_text(), self.scratch)
