"""The index of a dataset: made once, remade when a file changes, there as a whole or not; and what is said of gaps."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.data.clips.source import read_note, write_note
from relo_jax.data.datasets import annotations, index, layouts
from relo_jax.data.datasets.frame_names import FrameNames
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.datasets.layout import list_frames
from relo_jax.errors import UserError
from tests.data import miniature

FRAMES = 24
LASOT = layouts.dataset_layout("lasot")


def make(root: Path, names=("bear-1", "bear-3", "bear-5", "cat-2"), separator: str = ",") -> Path:
    """LaSOT in miniature, without pictures in its images: an index does not look into them."""
    for seed, name in enumerate(names):
        folder = root / name.split("-")[0] / name
        (folder / "img").mkdir(parents=True)
        for k in range(FRAMES):
            (folder / "img" / f"{k + 1:08d}.jpg").touch()
        (folder / "groundtruth.txt").write_text(miniature.lines(miniature.walk(FRAMES, seed), separator))
        for file in ("full_occlusion.txt", "out_of_view.txt"):
            (folder / file).write_text(",".join(str(int(k == 3)) for k in range(FRAMES)))
    return root


def arrays(dataset) -> dict[str, bytes]:
    """All files of an index."""
    return {path.name: path.read_bytes() for path in dataset._folder.iterdir()}


def kept(cache: Path) -> list[str]:
    """Names of the indices in a folder."""
    return sorted(path.name for path in cache.iterdir())


@pytest.fixture
def reads():
    """Names of the sequences that were read since."""
    return []


@pytest.fixture
def counted(reads):
    """LaSOT, which notes what it reads."""

    def read(root, entry):
        reads.append(entry.name)
        return LASOT.read(root, entry)

    return dataclasses.replace(LASOT, read=read)


CHANGES = {
    "a box": lambda bear: (bear / "groundtruth.txt").write_text(miniature.lines(miniature.walk(FRAMES, 9))),
    "flags": lambda bear: (bear / "out_of_view.txt").write_text(",".join("0" * FRAMES)),
    "flags removed": lambda bear: (bear / "out_of_view.txt").unlink(),
    "a frame more": lambda bear: (bear / "img" / "00000025.jpg").touch(),
    "a frame less": lambda bear: (bear / "img" / "00000003.jpg").unlink(),
    "a sequence more": lambda bear: shutil.copytree(bear, bear.with_name("bear-7")),
    "a sequence less": lambda bear: shutil.rmtree(bear),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_index_is_remade_when_a_file_changes(change, counted, reads, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    open_dataset(counted, "train", root, cache)
    assert sorted(reads) == ["bear-1", "bear-3", "bear-5", "cat-2"]
    time.sleep(0.01)  # a clock's tick, as file systems have it
    CHANGES[change](root / "bear" / "bear-3")
    reads.clear()
    open_dataset(counted, "train", root, cache)
    assert reads and len(kept(cache)) == 1, "the older one is gone"


def test_an_index_is_not_remade_for_anything_else(counted, reads, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    before = open_dataset(counted, "train", root, cache)
    reads.clear()
    (root / "bear" / "bear-3" / "nlp.txt").write_text("a bear")
    (root / "bear" / "bear-3" / "img" / "00000001.jpg").write_bytes(b"another picture")
    (root / "readme.txt").touch()
    after = open_dataset(counted, "train", root, cache)
    assert reads == [] and arrays(before) == arrays(after)


def test_two_roots_keep_an_index_each(counted, reads, tmp_path):
    roots = [make(tmp_path / name / "LaSOT") for name in ("here", "there")]
    for root in roots:
        open_dataset(counted, "train", root, tmp_path / "cache")
    reads.clear()
    for root in roots:
        assert str(root) in open_dataset(counted, "train", root, tmp_path / "cache")[0].where(0)
    assert reads == []


def test_an_index_of_another_version_is_built_anew_and_of_this_one_is_kept(counted, tmp_path, monkeypatch):
    root = make(tmp_path / "LaSOT", ["bear-1"])
    names = []
    for version in (index.INDEX_VERSION, index.INDEX_VERSION, index.INDEX_VERSION + 1):
        monkeypatch.setattr(index, "INDEX_VERSION", version)
        open_dataset(LASOT, "train", root, tmp_path / "cache")
        names.append(sorted(path.name for path in (tmp_path / "cache").iterdir()))
    assert names[0] == names[1] != names[2]
    assert all(len(found) == 1 for found in names)


def test_an_index_is_the_same_whatever_thread_is_first(counted, tmp_path, monkeypatch):
    root = make(tmp_path / "LaSOT", [f"bear-{k}" for k in (1, 3, 5, 7, 8, 9, 10)])
    (root / "bear" / "bear-5" / "groundtruth.txt").write_text("1,2,3\n")

    def late(root, entry):
        time.sleep(random.random() / 50)
        return LASOT.read(root, entry)

    made = []
    for readers in (1, 16):
        monkeypatch.setattr(index, "_READERS", readers)
        source = dataclasses.replace(LASOT, read=late)
        made.append(arrays(open_dataset(source, "train", root, tmp_path / f"cache{readers}")))
    assert made[0] == made[1] and len(made[0]) == 9


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
    """A process that waits for a line, and then opens a dataset."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(cache), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_killed_while_it_writes_leaves_no_index(counted, reads, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    with child(root, cache, "stop") as process:
        process.stdin.write("\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "stopped\n"]
        os.kill(process.pid, signal.SIGKILL)
    (half,) = kept(cache)
    assert half.startswith(".") and (cache / half / "boxes.npy").is_file()
    assert len(open_dataset(LASOT, "train", root, cache)) == 4
    assert half in kept(cache), "it may be that of a living process"
    os.utime(cache / half, (time.time() - 100_000,) * 2)
    (root / "bear" / "bear-1" / "img" / "00000001.jpg").unlink()
    open_dataset(LASOT, "train", root, cache)
    assert len(kept(cache)) == 1 and half not in kept(cache), "what the dead left is cleared away"


def test_two_processes_that_open_a_new_dataset_at_once_both_can(tmp_path):
    root, cache = make(tmp_path / "LaSOT", [f"bear-{k}" for k in range(20, 60)]), tmp_path / "cache"
    processes = [child(root, cache, "go") for _ in range(2)]
    assert [p.stdout.readline() for p in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    assert said[0] == said[1] and "bear-20" in said[0] and [p.returncode for p in processes] == [0, 0]
    (folder,) = kept(cache)
    assert not folder.startswith(".")


@pytest.mark.parametrize("left", [0.5, 0.0])
@pytest.mark.parametrize("file", ["boxes.npy", "start.npy", "text.npy", "problems.json"])
def test_a_damaged_index_is_made_again(file, left, tmp_path):
    root, cache = make(tmp_path / "LaSOT"), tmp_path / "cache"
    before = open_dataset(LASOT, "train", root, cache)
    whole = arrays(before)
    path = before._folder / file
    os.truncate(path, int(left * path.stat().st_size))
    assert arrays(open_dataset(LASOT, "train", root, cache)) == whole


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cache/lasot-train-.* cannot be written: "):
        open_dataset(LASOT, "train", make(tmp_path / "LaSOT"), tmp_path / "cache")


def _describe(dataset):
    return [(s.name, s.where(5), s.boxes_xywh.tobytes(), s.visible.tolist(), s.category) for s in dataset]


def test_a_dataset_goes_to_another_process_by_its_name_and_is_mapped_there(tmp_path):
    dataset = open_dataset(LASOT, "train", make(tmp_path / "LaSOT"), tmp_path / "cache")
    assert len(pickle.dumps(dataset)) < 1000
    assert all(isinstance(a, np.memmap) for a in (dataset._boxes, dataset._visible, dataset._text))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_describe, dataset).result() == _describe(dataset)


def test_sequences_are_counted_from_either_end(tmp_path):
    dataset = open_dataset(LASOT, "train", make(tmp_path / "LaSOT"), tmp_path / "cache")
    assert dataset[-1].name == dataset[3].name == "cat-2"
    for wrong in (4, -5):
        with pytest.raises(IndexError):
            dataset[wrong]


BAD = {
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
    "a line cut off": (
        lambda bear: (bear / "groundtruth.txt").write_text("1,2,3,4\n1,2,3"),
        "unreadable annotation",
        "bear/bear-3/groundtruth.txt: line 2: '1,2,3' is neither x,y,w,h nor the 8 numbers of 4 corners",
    ),
    "something else than text": (
        lambda bear: (bear / "groundtruth.txt").write_bytes(b"PK\x03\x04\xff\xfe"),
        "unreadable annotation",
        "bear/bear-3/groundtruth.txt: cannot be read as text",
    ),
    "flags cut off": (
        lambda bear: (bear / "full_occlusion.txt").write_text("0,0,1"),
        "flags and boxes differ",
        "bear/bear-3/full_occlusion.txt: 3 flags for 24 boxes: extract the annotation again",
    ),
    "the other flags cut off": (
        lambda bear: (bear / "out_of_view.txt").write_text("0"),
        "flags and boxes differ",
        "bear/bear-3/out_of_view.txt: 1 flags for 24 boxes: extract the annotation again",
    ),
    "flags that are words": (
        lambda bear: (bear / "out_of_view.txt").write_text("no,no"),
        "unreadable annotation",
        "bear/bear-3/out_of_view.txt: could not convert string to float: 'no': expected one whole number per frame",
    ),
    "a flag without end": (
        lambda bear: (bear / "out_of_view.txt").write_text("0,inf"),
        "unreadable annotation",
        "bear/bear-3/out_of_view.txt: cannot convert float infinity to integer: expected one whole number per frame",
    ),
    "a target that never shows": (
        lambda bear: (bear / "out_of_view.txt").write_text(",".join("1" * FRAMES)),
        "target never shows",
        "bear/bear-3/groundtruth.txt: no frame has a visible box: leave the sequence out",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_sequence_that_cannot_be_used_is_left_out_counted_and_named(what, tmp_path):
    root = make(tmp_path / "LaSOT")
    damage, kind, line = BAD[what]
    damage(root / "bear" / "bear-3")
    dataset = open_dataset(LASOT, "train", root, tmp_path / "cache")
    assert [s.name for s in dataset] == ["bear-1", "bear-5", "cat-2"]
    assert dataset.left_out == 1 and dataset.missing == 1120 - 4
    problem = next(p for p in dataset.problems if p.fatal)
    assert problem.kind == kind and str(problem).startswith(line) and "\n" not in str(problem)
    assert f"1 left out (1 {kind}; first: {problem}" in dataset.summary()


def test_names_of_files_that_are_no_utf_8_are_names(tmp_path):
    root = make(tmp_path / "LaSOT")
    for path in (root / "bear" / "bear-3" / "img").iterdir():
        os.rename(path, os.fsencode(path.parent) + b"/f\xe9_" + os.fsencode(path.name))
    found = {s.name: s for s in open_dataset(LASOT, "train", root, tmp_path / "cache")}
    assert os.fsencode(found["bear-3"].where(2)).endswith(b"/f\xe9_00000003.jpg")
    assert found["bear-3"].read_encoded(2) == b"", "the file was found"
    assert read_note(write_note([("lasot", "missing frame", found["bear-3"].where(2))]))[0][1] == "missing frame"


def test_nan_boxes_are_told_and_not_visible_but_the_sequence_stays(tmp_path):
    root, boxes = make(tmp_path / "LaSOT"), miniature.walk(FRAMES)
    boxes[7:9] = np.nan
    (root / "bear" / "bear-3" / "groundtruth.txt").write_text(miniature.lines(boxes))
    dataset = open_dataset(LASOT, "train", root, tmp_path / "cache")
    assert len(dataset) == 4 and np.flatnonzero(~dataset[1].visible).tolist() == [3, 7, 8]
    assert [str(p) for p in dataset.problems] == [
        "bear/bear-3/groundtruth.txt: 2 boxes are NaN, the first in line 8: never trained on"
    ]


def test_a_dataset_of_which_nothing_can_be_used_says_why(tmp_path):
    root = make(tmp_path / "LaSOT", ["bear-1"])
    shutil.rmtree(root / "bear" / "bear-1" / "img")
    with pytest.raises(UserError, match=r"LaSOT: no usable sequence: .*0 sequences.*1 left out \(1 no frames; first: "):
        open_dataset(LASOT, "train", root, tmp_path / "cache")


@pytest.mark.parametrize("separator", [",", " ", "\t", ";", ", ", " \t"])
def test_annotations_are_the_same_whatever_is_between_the_numbers(separator, tmp_path):
    dataset = open_dataset(LASOT, "train", make(tmp_path / "LaSOT", separator=separator), tmp_path / "cache")
    assert np.array_equal(dataset[2].boxes_xywh, miniature.walk(FRAMES, 2)) and dataset.problems == []


@given(st.text("0123456789.-+eNaNinf_,; \t\r\n\x0b", max_size=60))
@settings(deadline=None, max_examples=400)
def test_the_quick_parser_agrees_with_the_careful_one_or_leaves_it_to_it(text):
    text = text.rstrip()
    quick = annotations._parse_plain(text) if text else None
    if quick is not None:
        assert np.array_equal(quick, annotations._parse_lines(Path("x"), text), equal_nan=True)


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=4, max_size=4), min_size=1),
    st.sampled_from([",", " ", "\t", ";", ", ", " ,\t"]),
    st.sampled_from(["\n", "\r\n", ",\n"]),
)
@settings(deadline=None, max_examples=60)
def test_numbers_are_read_as_they_were_written(rows, separator, end):
    text = "".join(separator.join(map(repr, row)) + end for row in rows).rstrip()
    expected = np.array(rows)
    for parsed in (annotations._parse_plain(text), annotations._parse_lines(Path("x"), text)):
        assert np.array_equal(parsed, expected, equal_nan=True)


@pytest.mark.parametrize("text", ["1,2,3\n4,5,6,7,8", "1,2\n3,4\n", "1,2,3,4\n\n5,6,7,8", "1,2,3,4,5,6\n7,8"])
def test_numbers_that_make_up_for_those_of_another_line_are_no_boxes(text, tmp_path):
    (tmp_path / "groundtruth.txt").write_text(text)
    with pytest.raises(UserError, match=r"groundtruth.txt, line [12]: .* is neither x,y,w,h nor"):
        annotations.read_boxes(tmp_path / "groundtruth.txt")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(end, tmp_path):
    (tmp_path / "groundtruth.txt").write_bytes(f"\ufeff1,2,3,4{end}5,6,7,8{end}{end}".encode())
    assert annotations.read_boxes(tmp_path / "groundtruth.txt").tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


STEMS = st.text(st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.builds("{}{}".format, STEMS, st.sampled_from(["", ".jpg", ".PNG"])), max_size=6))
@settings(deadline=None, max_examples=150)
def test_any_names_of_frames_come_back(names):
    back = FrameNames(FrameNames.compress(names), len(names))
    assert list(back) == names and len(back) == len(names)


@given(STEMS, st.integers(0, 10**9), st.integers(1, 9), st.integers(2, 30), st.sampled_from([".jpg", ".png"]))
@settings(deadline=None, max_examples=150)
def test_numbered_names_of_frames_come_back_and_take_little(prefix, first, digits, count, suffix):
    names = [f"{prefix}{first + k:0{digits}d}{suffix}" for k in range(count)]
    text = FrameNames.compress(names)
    assert list(FrameNames(text, count)) == names and FrameNames(text, count)[-1] == names[-1]
    if not any(map(str.isnumeric, prefix)):
        assert len(text) < len(prefix) + 20
    with pytest.raises(IndexError):
        FrameNames(text, count)[count]


@pytest.mark.parametrize(
    "names",
    [
        ["0.jpg", "1.jpg", "2.jpg", "10.jpg", "11.jpg"],
        ["0008.jpg", "0009.jpg", "0010.png"],
        ["img1_9.jpg", "img1_10.jpg", "img2_1.jpg"],
        ["1_9.jpg", "1_10.jpg", "2_1.jpg"],
    ],
)
def test_frames_are_listed_in_the_order_of_their_numbers(names, tmp_path):
    for name in (*reversed(names), "groundtruth.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    assert list_frames(tmp_path) == names
