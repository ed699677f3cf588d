"""TFDS reads what `relo data build` writes, and the other way round."""

import subprocess
import sys

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.data.records.examples import KINDS
from relo_jax.data.records.read import is_built, open_built
from tests.data import builders
from tests.data.opened import opened


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_the_tfds_builder_stores_what_the_folders_hold(name, roots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an index is kept below the working directory
    readers = builders.tfds_build(name, roots, tmp_path / "tfds")
    splits = layouts.dataset_layout(name).splits
    assert set(readers["frames"]) == set(readers["sequences"]) == set(splits)
    for split in splits:
        builders.assert_same_as_folders(readers, opened(name, split, roots, tmp_path / "cache"), split)


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_tfds_reads_a_built_dataset(name, roots, built, tmp_path):
    readers = {kind: builders.tfds_read(built / name / kind / "1.0.0") for kind in KINDS}
    for split in layouts.dataset_layout(name).splits:
        builders.assert_same_as_folders(readers, opened(name, split, roots, tmp_path), split)


def test_a_dataset_that_tfds_built_is_opened_like_any_other(roots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    builders.tfds_build("lasot", roots, tmp_path / "tfds")
    for root in (tmp_path / "tfds", tmp_path / "tfds" / "lasot"):
        assert is_built(root, "lasot") and not is_built(root, "lasot_ext")
        dataset = open_built(root, "lasot", "train", tmp_path)
        assert builders.clips(dataset) == builders.clips(opened("lasot", "train", roots, tmp_path))


def test_training_on_folders_does_not_import_tensorflow_datasets():
    modules = "relo_jax.data.clips.pipeline, relo_jax.data.records.read"
    code = f"import {modules}, sys; print('tensorflow_datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
