"""Builds datasets for the tests of records, and reads them with TFDS's own readers, without TensorFlow."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relo_jax.data import miniature
from relo_jax.data.clips.plan import ClipOptions
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets import layouts
from relo_jax.data.records import build
from relo_jax.data.records.examples import KINDS
from relo_jax.data.records.read import open_built
from relo_jax.errors import UserError
from tests.data.opened import opened


@dataclass
class Lasot:
    """LaSOT in miniature in a folder, with a place to build it in."""

    folder: Path

    def __post_init__(self):
        self.root, self.out, self.cache = self.folder / "LaSOT", self.folder / "built", self.folder / "cache"
        miniature.lasot(self.root)

    def build(self, out=None, split="train", **options):
        options = {"shard_mib": 0.02, "cache": self.cache, **options}
        return build.build(layouts.dataset_layout("lasot"), split, out or self.out, self.root, **options)

    def config(self, kind: str) -> Path:
        """The folder of a built config."""
        return self.out / "lasot" / kind / "1.0.0"

    def open_folders(self, split="train"):
        return opened("lasot", split, self.root, self.cache)

    def open_built(self, split="train"):
        return open_built(self.out, "lasot", split, self.folder / "built_cache")

    def break_annotation(self):
        """Changes boxes of a training sequence."""
        groundtruth = self.root / "bear" / "bear-1" / "groundtruth.txt"
        groundtruth.write_text(groundtruth.read_text().replace("1", "2"))


def files(folder):
    """Name -> content of all files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def clips(dataset, count=6):
    """The bytes of the first clips, or the reason why there are none."""
    options = ClipOptions(frames=2, template_size=32, search_size=64)
    try:
        source = ClipSource([MixturePart("a", dataset)], options, seed=3)
        return [{key: value.tobytes() for key, value in source[k].items()} for k in range(count)]
    except UserError as error:
        return str(error).replace(dataset.name, "")


def tfds_build(name, root, out):
    """Builds both configs of a dataset with its TFDS builder. Returns config -> split -> TFDS's reader."""
    import tensorflow_datasets as tfds

    module = importlib.import_module(f"data.{name}.{name}_dataset_builder")
    readers = {}
    for kind in KINDS:
        builder = module.Builder(config=kind, data_dir=out, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=root))
        readers[kind] = tfds_read(builder.data_dir)
        assert builder.info.description and builder.info.citation and builder.info.homepage.startswith("http")
        assert builder.get_metadata().tags and builder.name == name
    return readers


def tfds_read(folder):
    """Split -> TFDS's reader, of the config in a folder."""
    import tensorflow_datasets as tfds

    decoders = {"image": tfds.decode.SkipDecoding()} if "/frames/" in str(folder) else None
    builder = tfds.builder_from_directory(folder)
    return {split: builder.as_data_source(split, decoders=decoders) for split in builder.info.splits}


def assert_same_as_folders(readers, dataset, split):
    """TFDS reads what the folders hold."""
    sequences, frames = readers["sequences"][split], readers["frames"][split]
    assert len(sequences) == len(dataset)
    paths = {sequence.where(k) for sequence in dataset for k in range(len(sequence))}
    assert len(frames) == len(paths), "a file that several sequences share is stored once"
    for record, sequence in zip(sequences, dataset, strict=True):
        assert record["name"].decode() == sequence.name
        assert record["category"].decode() == (sequence.category or "")
        assert record["boxes_xywh"].tobytes() == sequence.boxes_xywh.tobytes()
        assert np.array_equal(record["visible"] == 1, sequence.visible) and record["still"] == sequence.still
        assert np.array_equal(record["visible"] > 0, sequence.counted)
        assert record["frames"] == len(sequence)
        for k in range(len(sequence)):
            frame = frames[int(record["first_frame"]) + k]
            assert frame["image"] == sequence.read_encoded(k)
            assert sequence.where(k).endswith(frame["file"].decode())
