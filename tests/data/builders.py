"""What every builder's own test checks: the stock way of TFDS, without TensorFlow, over a dataset in miniature."""

import importlib

import numpy as np

from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.records.examples import KINDS
from tests.data import miniature


def stock_build(name, root, out):
    """Builds both configs of a dataset as `tfds` does, and gives TFDS's readers of them by config and split."""
    import tensorflow_datasets as tfds

    module = importlib.import_module(f"data.{name}.{name}_dataset_builder")
    readers = {}
    for kind in KINDS:
        builder = module.Builder(config=kind, data_dir=out, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=root))
        readers[kind] = read(builder.data_dir)
        assert builder.info.description and builder.info.citation and builder.info.homepage.startswith("http")
        assert builder.get_metadata().tags and builder.name == name
    return readers


def read(folder):
    """TFDS's own readers of the splits of a config."""
    import tensorflow_datasets as tfds

    frames = folder.parent.name == "frames" if hasattr(folder, "parent") else "/frames/" in str(folder)
    decoders = {"image": tfds.decode.SkipDecoding()} if frames else None
    builder = tfds.builder_from_directory(folder)
    return {split: builder.as_data_source(split, decoders=decoders) for split in builder.info.splits}


def same_as_folders(readers, dataset, split):
    """Asserts that TFDS reads what the folders hold."""
    sequences, frames = readers["sequences"][split], readers["frames"][split]
    assert len(sequences) == len(dataset)
    files = {sequence.where(k) for sequence in dataset for k in range(len(sequence))}
    assert len(frames) == len(files), "a file that several sequences share is to be stored once"
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


def check(name, tmp_path, monkeypatch):
    """Builds a miniature of the dataset the stock way and compares all of it with the folders."""
    monkeypatch.chdir(tmp_path)  # an index is kept below the working directory
    layout = layouts.dataset_layout(name)
    miniature.MAKERS[name](tmp_path / "roots" / layout.folders[0])
    readers = stock_build(name, tmp_path / "roots", tmp_path / "stock")
    assert set(readers["frames"]) == set(readers["sequences"]) == set(layout.splits)
    for split in layout.splits:
        dataset = open_dataset(layout, split, tmp_path / "roots", tmp_path / "cache")
        same_as_folders(readers, dataset, split)
