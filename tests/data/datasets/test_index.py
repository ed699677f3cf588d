"""The index of a dataset: built once, rebuilt when a file changes, and complete or absent; and reports of defects."""

import dataclasses
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.clips.source import read_note, write_note
from relo_jax.data.datasets import index, layouts
from relo_jax.data.datasets.index import open_dataset
from relo_jax.errors import UserError
from tests.data.opened import by_name, hidden

FRAMES = 24
LASOT = layouts.dataset_layout("lasot")


def make(root: Path, names=("bear-1", "bear-3", "bear-5", "cat-2")) -> Path:
    """LaSOT in miniature with empty image files: an index does not read them."""
    for seed, name in enumerate(names):
        folder = root / name.split("-")[0] / name
        (folder / "img").mkdir(parents=True)
        for k in range(FRAMES):
            (folder / "img" / f"{k + 1:08d}.jpg").touch()
        (folder / "groundtruth.txt").write_text(miniature.lines(miniature.walk(FRAMES, seed)))
        for file in ("full_occlusion.txt", "out_of_view.txt"):
            (folder / file).write_text(",".join(str(int(k == 3)) for k in range(FRAMES)))
    return root


def arrays(dataset) -> dict[str, bytes]:
    """The content of all files of an index."""
    return {path.name: path.read_bytes() for path in dataset._folder.iterdir()}


def indices(cache: Path) -> list[str]:
    """Names of the indices in a folder."""
    return sorted(path.name for path in cache.iterdir())


@pytest.fixture
def reads():
    """Names of the sequences that were read."""
    return []


@pytest.fixture
def counted(reads):
    """LaSOT with a `read` that adds to `reads`."""

    def read(root, entry):
        reads.append(entry.name)
        return LASOT.read(root, entry)

    return dataclasses.replace(LASOT, read=read)


CHANGES = {
    "a box": lambda bear: (bear / "groundtruth.txt").write_text(miniature.lines(miniature.walk(FRAMES, 9))),
    "flags": lambda bear: (bear / "out_of_view.txt").write_text(",".join("0" * FRAMES)),
    "removed flags": lambda bear: (bear / "out_of_view.txt").unlink(),
    "an added frame": lambda bear: (bear / "img" / "00000025.jpg").touch(),
    "a removed frame": lambda bear: (bear / "img" / "00000003.jpg").unlink(),
    "an added sequence": lambda bear: shutil.copytree(bear, bear.with_name("bear-7")),
    "a removed sequence": lambda bear: shutil.rmtree(bear),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_index_is_rebuilt_when_a_file_changes(change, counted, reads, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    open_dataset(counted, "train", root, cache)
    assert sorted(reads) == ["bear-1", "bear-3", "bear-5", "cat-2"]
    time.sleep(0.01)  # the resolution of file times
    CHANGES[change](root / "bear" / "bear-3")
    reads.clear()
    open_dataset(counted, "train", root, cache)
    assert reads and len(indices(cache)) == 1, "the old index is removed"


def test_an_index_is_kept_when_other_files_change(counted, reads, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    before = open_dataset(counted, "train", root, cache)
    reads.clear()
    (root / "bear" / "bear-3" / "nlp.txt").write_text("a bear")
    (root / "bear" / "bear-3" / "img" / "00000001.jpg").write_bytes(b"another image")
    (root / "readme.txt").touch()
    after = open_dataset(counted, "train", root, cache)
    assert reads == [] and arrays(before) == arrays(after)


def test_two_roots_have_an_index_each(counted, reads, tmp_path):
    roots = [make(tmp_path / name / "LaSOT") for name in ("here", "there")]
    for root in roots:
        open_dataset(counted, "train", root, tmp_path / "cache")
    reads.clear()
    for root in roots:
        assert str(root) in open_dataset(counted, "train", root, tmp_path / "cache")[0].where(0)
    assert reads == []


def test_an_index_of_another_version_is_rebuilt(tmp_path, monkeypatch):
    root, cache = make(tmp_path / "LaSOT", ["bear-1"]), tmp_path / "cache"
    names = []
    for version in (index.INDEX_VERSION, index.INDEX_VERSION, index.INDEX_VERSION + 1):
        monkeypatch.setattr(index, "INDEX_VERSION", version)
        open_dataset(LASOT, "train", root, cache)
        names.append(indices(cache))
    assert names[0] == names[1] != names[2] and all(len(folders) == 1 for folders in names)


def test_an_index_does_not_depend_on_the_order_of_threads(tmp_path, monkeypatch):
    root = make(tmp_path / "LaSOT", [f"bear-{k}" for k in (1, 3, 5, 7, 8, 9, 10)])
    (root / "bear" / "bear-5" / "groundtruth.txt").write_text("1,2,3\n")

    def slow_read(root, entry):
        time.sleep(random.random() / 50)
        return LASOT.read(root, entry)

    built = []
    for readers in (1, 16):
        monkeypatch.setattr(index, "_READERS", readers)
        layout = dataclasses.replace(LASOT, read=slow_read)
        built.append(arrays(open_dataset(layout, "train", root, tmp_path / f"cache{readers}")))
    assert built[0] == built[1] and len(built[0]) == 9


CHILD = """
import sys, time
from pathlib import Path
from relo_jax.data.datasets import index_store, layouts
from relo_jax.data.datasets.index import open_dataset
root, cache, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
layout, save = layouts.dataset_layout("lasot"), index_store.np.save

def slow(path, values):
    save(path, values)
    if what == "stop" and path.name == "text.npy":
        print("stopped", flush=True)
        time.sleep(60)

index_store.np.save = slow
entries = layout.entries
def wait(*arguments):
    print("ready", flush=True)
    sys.stdin.readline()
    return entries(*arguments)
object.__setattr__(layout, "entries", wait)
print([s.name for s in open_dataset(layout, "train", root, cache)], flush=True)
"""


def child(root, cache, what):
    """A process that waits for a line on stdin and then opens a dataset."""
    command = [sys.executable, "-c", CHILD, str(root), str(cache), what]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_while_it_writes_leaves_no_index(tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    with child(root, cache, "stop") as process:
        process.stdin.write("\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "stopped\n"]
        os.kill(process.pid, signal.SIGKILL)
    (unfinished,) = indices(cache)
    assert unfinished.startswith(".") and (cache / unfinished / "boxes.npy").is_file()
    assert len(open_dataset(LASOT, "train", root, cache)) == 4
    assert unfinished in indices(cache), "it might belong to a running process"
    os.utime(cache / unfinished, (time.time() - 100_000,) * 2)
    (root / "bear" / "bear-1" / "img" / "00000001.jpg").unlink()
    open_dataset(LASOT, "train", root, cache)
    assert len(indices(cache)) == 1 and unfinished not in indices(cache), "a day later it is removed"


def test_two_processes_may_open_a_new_dataset_at_the_same_time(tmp_path):
    root, cache = make(tmp_path / "LaSOT", [f"bear-{k}" for k in range(20, 60)]), tmp_path / "cache"
    processes = [child(root, cache, "go") for _ in range(2)]
    assert [p.stdout.readline() for p in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in processes]
    assert printed[0] == printed[1] and "bear-20" in printed[0] and [p.returncode for p in processes] == [0, 0]
    (folder,) = indices(cache)
    assert not folder.startswith(".")


@pytest.mark.parametrize("left", [0.5, 0.0])
@pytest.mark.parametrize("file", ["boxes.npy", "start.npy", "text.npy", "problems.json"])
def test_a_damaged_index_is_rebuilt(file, left, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    before = open_dataset(LASOT, "train", root, cache)
    complete = arrays(before)
    path = before._folder / file
    os.truncate(path, int(left * path.stat().st_size))
    assert arrays(open_dataset(LASOT, "train", root, cache)) == complete


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cache/lasot-train-.* cannot be written: "):
        open_dataset(LASOT, "train", make(tmp_path / "LaSOT"), tmp_path / "cache")


def _describe(dataset):
    return [(s.name, s.where(5), s.boxes_xywh.tobytes(), s.visible.tolist(), s.category) for s in dataset]


def test_a_dataset_is_pickled_by_name_and_mapped_again_in_another_process(tmp_path):
    dataset = open_dataset(LASOT, "train", make(tmp_path / "LaSOT"), tmp_path / "cache")
    assert len(pickle.dumps(dataset)) < 1000
    assert all(isinstance(a, np.memmap) for a in (dataset._boxes, dataset._visible, dataset._text))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_describe, dataset).result() == _describe(dataset)


def test_sequences_are_indexed_from_either_end(tmp_path):
    dataset = open_dataset(LASOT, "train", make(tmp_path / "LaSOT"), tmp_path / "cache")
    assert dataset[-1].name == dataset[3].name == "cat-2"
    for wrong in (4, -5):
        with pytest.raises(IndexError):
            dataset[wrong]


DEFECTS = {  # how to make it, the kind of problem, its message
    "half its frames": (
        lambda bear: [path.unlink() for path in sorted((bear / "img").iterdir())[12:]],
        "boxes and frames differ",
        "bear/bear-3/groundtruth.txt: 24 boxes for 12 frames in bear/bear-3/img: extract the sequence again",
    ),
    "no frames": (
        lambda bear: shutil.rmtree(bear / "img"),
        "no frames",
        "bear/bear-3/img: no images in it: extract the sequence again",
    ),
    "no annotation": (
        lambda bear: (bear / "groundtruth.txt").unlink(),
        "unreadable annotation",
        "bear/bear-3/groundtruth.txt: there is no such file: extract it again",
    ),
    "an empty annotation": (
        lambda bear: (bear / "groundtruth.txt").write_text("\n\n"),
        "unreadable annotation",
        "bear/bear-3/groundtruth.txt: holds no boxes: extract it again",
    ),
    "a truncated line": (
        lambda bear: (bear / "groundtruth.txt").write_text("1,2,3,4\n1,2,3"),
        "unreadable annotation",
        "bear/bear-3/groundtruth.txt: line 2: '1,2,3' is neither x,y,w,h nor the 8 numbers of 4 corners",
    ),
    "a binary file": (
        lambda bear: (bear / "groundtruth.txt").write_bytes(b"PK\x03\x04\xff\xfe"),
        "unreadable annotation",
        "bear/bear-3/groundtruth.txt: cannot be read as text",
    ),
    "truncated flags": (
        lambda bear: (bear / "full_occlusion.txt").write_text("0,0,1"),
        "flags and boxes differ",
        "bear/bear-3/full_occlusion.txt: 3 flags for 24 boxes: extract the annotation again",
    ),
    "the other flags truncated": (
        lambda bear: (bear / "out_of_view.txt").write_text("0"),
        "flags and boxes differ",
        "bear/bear-3/out_of_view.txt: 1 flags for 24 boxes: extract the annotation again",
    ),
    "flags as words": (
        lambda bear: (bear / "out_of_view.txt").write_text("no,no"),
        "unreadable annotation",
        "bear/bear-3/out_of_view.txt: number 1: 'no': expected one whole number per frame",
    ),
    "an infinite flag": (
        lambda bear: (bear / "out_of_view.txt").write_text("0,inf"),
        "unreadable annotation",
        "bear/bear-3/out_of_view.txt: number 2: 'inf': expected one whole number per frame",
    ),
    "a target that never shows": (
        lambda bear: (bear / "out_of_view.txt").write_text(",".join("1" * FRAMES)),
        "target never shows",
        "bear/bear-3/groundtruth.txt: no frame has a visible box: leave the sequence out",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_an_unusable_sequence_is_left_out_counted_and_named(defect, tmp_path):
    root = make(tmp_path / "LaSOT")
    damage, kind, line = DEFECTS[defect]
    damage(root / "bear" / "bear-3")
    dataset = open_dataset(LASOT, "train", root, tmp_path / "cache")
    assert [s.name for s in dataset] == ["bear-1", "bear-5", "cat-2"]
    assert dataset.left_out == 1 and dataset.missing == 1120 - 4
    problem = next(p for p in dataset.problems if p.fatal)
    assert problem.kind == kind and str(problem).startswith(line) and "\n" not in str(problem)
    assert f"1 left out (1 {kind}; first: {problem}" in dataset.summary()


def test_file_names_need_not_be_utf_8(tmp_path):
    root = make(tmp_path / "LaSOT")
    for path in (root / "bear" / "bear-3" / "img").iterdir():
        os.rename(path, os.fsencode(path.parent) + b"/f\xe9_" + os.fsencode(path.name))
    sequence = by_name(open_dataset(LASOT, "train", root, tmp_path / "cache"))["bear-3"]
    assert os.fsencode(sequence.where(2)).endswith(b"/f\xe9_00000003.jpg")
    assert sequence.read_encoded(2) == b"", "the file was found"
    assert read_note(write_note([("lasot", "missing frame", sequence.where(2))]))[0][1] == "missing frame"


def test_nan_boxes_are_reported_and_hidden_but_the_sequence_stays(tmp_path):
    root, boxes = make(tmp_path / "LaSOT"), miniature.walk(FRAMES)
    boxes[7:9] = np.nan
    (root / "bear" / "bear-3" / "groundtruth.txt").write_text(miniature.lines(boxes))
    dataset = open_dataset(LASOT, "train", root, tmp_path / "cache")
    assert len(dataset) == 4 and hidden(dataset[1]) == [3, 7, 8]
    assert [str(p) for p in dataset.problems] == [
        "bear/bear-3/groundtruth.txt: 2 boxes are NaN, the first in line 8: never trained on"
    ]


def test_a_dataset_without_usable_sequences_says_why(tmp_path):
    root = make(tmp_path / "LaSOT", ["bear-1"])
    shutil.rmtree(root / "bear" / "bear-1" / "img")
    with pytest.raises(UserError, match=r"LaSOT: no usable sequence: .*0 sequences.*1 left out \(1 no frames; first: "):
        open_dataset(LASOT, "train", root, tmp_path / "cache")
