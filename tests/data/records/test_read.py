"""A built dataset is read as the folders are, by threads and worker processes, and its defects are named."""

import os
import pickle
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from relo_jax import config as config_lib
from relo_jax.data import miniature
from relo_jax.data.clips.pipeline import sequences
from relo_jax.data.datasets import layouts
from relo_jax.data.records import build
from relo_jax.data.records.examples import KINDS
from relo_jax.data.records.read import RecordDataset, open_built
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError
from tests.data.builders import clips
from tests.data.opened import names, opened

SPLITS = [(name, split) for name in miniature.MAKERS for split in layouts.dataset_layout(name).splits]


@pytest.mark.parametrize("name, split", SPLITS)
def test_a_built_dataset_equals_the_folders_to_the_byte(name, split, roots, built, tmp_path):
    folders = opened(name, split, roots, tmp_path)
    records = open_built(built, name, split, tmp_path)
    assert len(records) == len(folders) and records.name == folders.name and records.each_once == folders.each_once
    assert records.problems == folders.problems and records.summary() == folders.summary()
    for array in ("lengths", "visible_counts", "stills"):
        assert getattr(records, array).tolist() == getattr(folders, array).tolist()
    for ours, other in zip(records, folders, strict=True):
        assert (ours.name, ours.category, ours.still) == (other.name, other.category, other.still)
        assert ours.boxes_xywh.tobytes() == other.boxes_xywh.tobytes() and ours.boxes_xywh.dtype == np.float64
        assert ours.visible.tobytes() == other.visible.tobytes() and ours.visible.dtype == bool
        assert ours.counted.tobytes() == other.counted.tobytes() and ours.counted.dtype == bool
        for k in range(len(other)):
            assert ours.read_encoded(k) == other.read_encoded(k)
        assert np.array_equal(ours.read_frame(0), other.read_frame(0)) and other.name in ours.where(0)
    expected = clips(folders)
    assert clips(records) == expected and (isinstance(expected, list) or folders.visible_counts.max() <= 8)


def test_a_build_has_the_objects_that_it_was_made_of_or_larger_ones(roots, built, tmp_path):
    data = config_lib.base().data
    build.build(layouts.dataset_layout("coco", 0), "train", tmp_path, roots, cache=tmp_path / "cache")
    for root, sides in ((built, (50, 60)), (tmp_path, (0, 50, 60))):
        for side in sides:
            data.coco_smallest_side = side
            folders, records = (sequences("coco", data, cache=tmp_path) for data.root in (str(roots), str(root)))
            assert isinstance(records, RecordDataset) and names(records) == names(folders)
            last = len(folders) - 1
            assert records[last].read_encoded(0) == folders[last].read_encoded(0)
    data.coco_smallest_side, data.root = 49, str(built)
    with pytest.raises(UserError, match="objects above 50 pixels, and .*smallest_side=49 asks .*--smallest-side 49"):
        sequences("coco", data, cache=tmp_path)


def test_an_incomplete_built_dataset_is_named(lasot):
    with pytest.raises(UserError, match=r"no built LaSOT: relo data build lasot --out"):
        lasot.open_built()
    lasot.build()
    with pytest.raises(UserError, match=r"no finished test split \(it has train\): build it with --split test"):
        lasot.open_built("test")
    dataset = lasot.open_built()
    for shard in lasot.config("frames").glob("*.array_record*"):
        shard.unlink()
    with pytest.raises(FrameError, match="frame 4 of train airplane-2"):
        dataset[0].read_encoded(4)
    with pytest.raises(IndexError):  # the next record belongs to another sequence
        dataset[0].read_encoded(24)
    (lasot.config("frames") / "metadata.json").write_text("{")
    with pytest.raises(UserError, match=r"frames/1.0.0/metadata.json: cannot be read .* build the dataset again"):
        lasot.open_built()


def test_the_index_is_rebuilt_after_another_build(lasot):
    indices = lambda: list((lasot.folder / "built_cache").iterdir())
    times = lambda: {path: path.stat().st_mtime_ns for folder in indices() for path in folder.iterdir()}
    lasot.build()
    first = lasot.open_built()
    before = times()
    lasot.open_built()
    assert times() == before
    for kind in KINDS:
        (lasot.config(kind) / "dataset_info.json").unlink()
    lasot.break_annotation()
    lasot.build()
    assert not np.array_equal(first[1].boxes_xywh, lasot.open_built()[1].boxes_xywh)
    assert len(indices()) == 1


@pytest.mark.parametrize("left", [0.5, 0.0])
@pytest.mark.parametrize("file", ["boxes.npy", "first.npy", "problems.json"])
def test_a_damaged_index_is_rebuilt(file, left, built, tmp_path):
    before = [s.boxes_xywh for s in open_built(built, "lasot", "train", tmp_path)]
    (index,) = tmp_path.glob("built-lasot-train-*")
    os.truncate(index / file, int(left * (index / file).stat().st_size))
    after = [s.boxes_xywh for s in open_built(built, "lasot", "train", tmp_path)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_sixteen_threads_read_the_right_bytes(roots, built, tmp_path):
    folders = opened("lasot", "train", roots, tmp_path)
    records = open_built(built, "lasot", "train", tmp_path)
    expected = [[sequence.read_encoded(k) for k in range(len(sequence))] for sequence in folders]
    drawn = np.random.default_rng(0).integers((0, 0), (len(folders), miniature.FRAMES), (3000, 2)).tolist()
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda at: records[at[0]].read_encoded(at[1]), drawn))
    assert all(data == expected[s][k] for (s, k), data in zip(drawn, read, strict=True))


WORKERS = """
import multiprocessing, pickle, sys, zlib

def checksums(dataset, numbers):
    return [zlib.crc32(dataset[s].read_encoded(k)) for s, k in numbers]

def of_worker(method, dataset, numbers):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply_async(checksums, [dataset, numbers]).get(60)

if __name__ == "__main__":
    dataset = pickle.load(open(sys.argv[1], "rb"))
    numbers = [(s, k) for s in range(len(dataset)) for k in range(0, 24, 3)]
    print(of_worker("fork", dataset, numbers))
    print(checksums(dataset, numbers))
    print(of_worker("spawn", dataset, numbers))
    of_worker("fork", dataset, numbers)
"""


def test_worker_processes_read_the_right_bytes_or_refuse(roots, built, tmp_path):
    """Workers are spawned, or forked before anything is read. Forked later, they might hang, so they refuse."""
    (tmp_path / "dataset.pickle").write_bytes(pickle.dumps(open_built(built, "lasot", "train", tmp_path)))
    assert (tmp_path / "dataset.pickle").stat().st_size < 2000
    (tmp_path / "workers.py").write_text(WORKERS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, tmp_path / "workers.py", tmp_path / "dataset.pickle"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    folders = opened("lasot", "train", roots, tmp_path)
    expected = str([zlib.crc32(s.read_encoded(k)) for s in folders for k in range(0, 24, 3)])
    assert done.stdout.splitlines() == [expected] * 3, done.stderr
    assert "was read before this process was forked: start workers by spawn" in done.stderr


def test_more_shards_are_read_than_files_may_be_open(lasot, tmp_path):
    lasot.build(shard_mib=0.003)
    code = (
        "import resource, sys; from relo_jax.data.records.read import open_built\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (36, int(sys.argv[3])))\n"
        "dataset = open_built(sys.argv[1], 'lasot', 'train', sys.argv[2])\n"
        "print(sum(len(s.read_encoded(k)) > 0 for s in dataset for k in range(len(s))))"
    )
    run = lambda limit: subprocess.run(
        [sys.executable, "-c", code, lasot.out, tmp_path, limit], capture_output=True, text=True
    )
    done = run("200")
    assert done.stdout.strip() == "48", done.stderr
    assert "48 shards cannot be open at once, the system allows 140 files" in run("140").stderr
