"""A built dataset is the folders again, to the byte; a build that is killed goes on; damage is found."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relo_jax.commands import main as cli
from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import open_dataset
from relo_jax.data.records import build as tfds_build
from relo_jax.data.records import shard as tfds_shard
from relo_jax.data.records import tfds
from relo_jax.data.records.examples import KINDS, SplitExamples, digest, threaded_map
from relo_jax.data.records.read import is_built, open_built
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError
from tests.data import builders, miniature

SPLITS = [(name, split) for name in miniature.MAKERS for split in layouts.dataset_layout(name).splits]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Folder with every miniature dataset under the name its authors give it."""
    root = tmp_path_factory.mktemp("datasets")
    for name, make in miniature.MAKERS.items():
        make(root / layouts.dataset_layout(name).folders[0])
    return root


@pytest.fixture(scope="module")
def built(roots, tmp_path_factory):
    """Folder with every one of them, built."""
    out = tmp_path_factory.mktemp("built")
    for name, split in SPLITS:
        tfds_build.build(layouts.dataset_layout(name), split, out, roots, shard_mib=0.02, cache=out / "cache")
    return out


@pytest.fixture
def lasot(tmp_path):
    """A folder of LaSOT, and a function that builds its training split from it."""
    miniature.lasot(tmp_path / "LaSOT")

    def build(out=tmp_path / "built", root=tmp_path / "LaSOT", split="train", **options):
        options = {"shard_mib": 0.02, "cache": tmp_path / "cache", **options}
        return tfds_build.build(layouts.dataset_layout("lasot"), split, out, root, **options)

    build.root, build.out, build.cache = tmp_path / "LaSOT", tmp_path / "built", tmp_path / "cache"
    return build


def files(folder):
    """The contents of all files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def clips(dataset, count=6):
    """The bytes of the first clips, or why there are none."""
    options = ClipOptions(frames=2, template_size=32, search_size=64)
    try:
        source = ClipSource([MixturePart("a", dataset)], options, seed=3)
        return [{key: value.tobytes() for key, value in source[k].items()} for k in range(count)]
    except UserError as error:
        return str(error).replace(dataset.name, "")


@pytest.mark.parametrize("name, split", SPLITS)
def test_what_was_built_is_what_the_folders_hold(name, split, roots, built, tmp_path):
    folders = open_dataset(layouts.dataset_layout(name), split, roots, tmp_path)
    again = open_built(built, name, split, tmp_path)
    assert len(again) == len(folders) and again.name == folders.name and again.each_once == folders.each_once
    assert again.problems == folders.problems and again.summary() == folders.summary()
    for array in ("lengths", "visible_counts", "stills"):
        assert getattr(again, array).tolist() == getattr(folders, array).tolist()
    for one, other in zip(again, folders, strict=True):
        assert (one.name, one.category, one.still) == (other.name, other.category, other.still)
        assert one.boxes_xywh.tobytes() == other.boxes_xywh.tobytes() and one.boxes_xywh.dtype == np.float64
        assert one.visible.tobytes() == other.visible.tobytes() and one.visible.dtype == bool
        assert one.counted.tobytes() == other.counted.tobytes() and one.counted.dtype == bool
        for k in range(len(other)):
            assert one.read_encoded(k) == other.read_encoded(k)
        assert np.array_equal(one.read_frame(0), other.read_frame(0)) and other.name in one.where(0)
    drawn = clips(folders)
    assert clips(again) == drawn and (isinstance(drawn, list) or folders.visible_counts.max() <= 8)


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_tfds_reads_what_was_built(name, roots, built, tmp_path):
    readers = {kind: builders.read(built / name / kind / "1.0.0") for kind in KINDS}
    for split in layouts.dataset_layout(name).splits:
        builders.same_as_folders(readers, open_dataset(layouts.dataset_layout(name), split, roots, tmp_path), split)


def test_what_tfds_built_is_opened_too(roots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    builders.stock_build("lasot", roots, tmp_path / "stock")
    for root in (tmp_path / "stock", tmp_path / "stock" / "lasot"):
        assert is_built(root, "lasot") and not is_built(root, "lasot_ext")
        again = open_built(root, "lasot", "train", tmp_path)
        assert clips(again) == clips(open_dataset(layouts.dataset_layout("lasot"), "train", roots, tmp_path))


def test_a_build_that_was_killed_goes_on_to_the_same_bytes(lasot, tmp_path):
    boxes = miniature.walk(400, seed=5)[:, :4] * [0.1, 0.1, 1, 1]
    folder = lasot.root / "airplane" / "airplane-2"
    miniature.write_frames(folder / "img", boxes)
    (folder / "groundtruth.txt").write_text(miniature.lines(boxes))
    for flags in ("full_occlusion.txt", "out_of_view.txt"):
        (folder / flags).write_text(",".join("0" * 400))
    command = (
        f"{sys.executable} -m relo_jax.commands.main data build lasot --split train --shard-mib 0.01 --no-tiles".split()
    )
    command += ["--root", str(lasot.root), "--cache", str(lasot.cache), "--out", str(lasot.out)]
    notes = lasot.out / "lasot" / "frames" / "1.0.0" / "shards-train"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(notes.glob("0*.json"))) < 3 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(notes.glob("0*.json")))
    assert not (lasot.out / "lasot" / "frames" / "1.0.0" / "dataset_info.json").exists()
    assert not is_built(lasot.out, "lasot")
    with pytest.raises(UserError, match="no built LaSOT"):
        open_built(lasot.out, "lasot", "train", tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = lasot(tmp_path / "whole", shard_mib=0.01)
    total = whole.shards["written"]
    assert 3 <= kept < total - 10 and f"{kept} kept and {total - kept} written" in done.stdout
    assert files(lasot.out) == files(tmp_path / "whole")


def test_a_split_is_added_to_a_built_one(lasot):
    lasot(split="train")
    before = files(lasot.out)
    lasot(split="test")
    after = files(lasot.out)
    assert set(builders.read(lasot.out / "lasot" / "frames" / "1.0.0")) == {"train", "test"}
    assert all(after[file] == data for file, data in before.items() if "train" in file)
    assert set(json.loads(after["lasot/sequences/1.0.0/metadata.json"])) == {"train", "test"}


@pytest.mark.parametrize("position", [0, 70, 0.3, 0.5, 0.9, -1])
def test_a_flipped_byte_is_found_and_its_shard_written_again(position, lasot):
    lasot()
    good = files(lasot.out)
    shard = sorted((lasot.out / "lasot" / "frames" / "1.0.0").glob("*.array_record*"))[1]
    data = bytearray(shard.read_bytes())
    data[int(position * len(data)) if isinstance(position, float) else position] ^= 4
    shard.write_bytes(data)
    report = lasot()
    assert report.damaged == [str(shard)] and f"{shard}: had changed" in str(report)
    assert files(lasot.out) == good


def test_a_shard_that_does_not_read_back_is_an_error(lasot, tmp_path):
    examples = SplitExamples(open_dataset(layouts.dataset_layout("lasot"), "train", lasot.root, lasot.cache))
    digests = [digest(examples.example("frames", k)[0]) for k in range(5)]
    tfds_shard.write(examples, "frames", range(5), tmp_path / "shard")
    tfds_shard.verify(tmp_path / "shard", "frames", digests)
    with pytest.raises(UserError, match="record 3 is not what was written"):
        tfds_shard.verify(tmp_path / "shard", "frames", [*digests[:3], digests[0], digests[4]])
    with pytest.raises(UserError, match="5 records for 4 frames"):
        tfds_shard.verify(tmp_path / "shard", "frames", digests[:4])
    data = bytearray((tmp_path / "shard").read_bytes())
    for position in range(200, 15_000, 1_000):  # there are 16,000 bytes of records; the rest fills blocks up
        (tmp_path / "damaged").write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(UserError, match="damaged: does not read back"):
            tfds_shard.verify(tmp_path / "damaged", "frames", digests)


def test_a_record_that_is_not_what_the_folder_holds_is_not_kept(lasot, monkeypatch):
    """As if a byte were changed on its way: the build stops, and the shard never comes to its place."""
    right = tfds.serializer

    def wrong(kind):
        flip = lambda record: record.replace(b"img/00000009.jpg", b"img/00000008.jpg")
        return lambda example: flip(right(kind)(example))

    monkeypatch.setattr(tfds, "serializer", wrong)
    with pytest.raises(UserError, match=r"-of-\d+: does not read back \(record \d is not what was written"):
        lasot()
    notes = [file for file in files(lasot.out) if "shards-train/0" in file]
    assert len(notes) < 8 and len(notes) == sum("array_record" in file for file in files(lasot.out))
    assert not is_built(lasot.out, "lasot")
    monkeypatch.undo()
    lasot()
    assert is_built(lasot.out, "lasot")


def test_bad_images_are_counted_and_named_and_fail_as_in_the_folder(lasot, tmp_path):
    images = lasot.root / "bear" / "bear-1" / "img"
    broken, gone = images / "00000003.jpg", images / "00000007.jpg"
    broken.write_bytes(broken.read_bytes()[:-300])
    gone.unlink()
    gone.symlink_to("nowhere.jpg")
    report = lasot()
    told = {(p.kind, p.where) for p in report.problems}
    assert told == {
        ("undecodable image", "bear/bear-1/img/00000003.jpg"),
        ("missing frame", "bear/bear-1/img/00000007.jpg"),
    }
    assert "1 missing frame, stored unchanged; the first: bear/bear-1/img/00000007.jpg" in str(report)
    folders = open_dataset(layouts.dataset_layout("lasot"), "train", lasot.root, lasot.cache)
    again = open_built(lasot.out, "lasot", "train", tmp_path)
    assert {p.where for p in again.problems} == {p.where for p in report.problems}
    assert again[1].read_encoded(2) == broken.read_bytes()
    for k, reason in ((2, "undecodable image"), (6, "missing frame")):
        for sequence in (again[1], folders[1]):
            with pytest.raises(FrameError) as failure:
                sequence.read_frame(k)
            assert failure.value.reason == reason and "bear-1" in str(failure.value)
    strip = lambda drawn: [{k: v for k, v in clip.items() if k != "note"} for clip in drawn]
    assert strip(clips(again, 20)) == strip(clips(folders, 20))
    assert any(clip["failed"] != bytes(4) for clip in clips(again, 20))


def test_other_data_never_replaces_a_built_dataset_but_an_unfinished_one(lasot, tmp_path):
    lasot()
    whole = files(lasot.out)
    groundtruth = lasot.root / "bear" / "bear-1" / "groundtruth.txt"
    groundtruth.write_text(groundtruth.read_text().replace("1", "2"))
    with pytest.raises(UserError, match="has the train split, from other data"):
        lasot()
    assert files(lasot.out) == whole
    for kind in KINDS:
        (lasot.out / "lasot" / kind / "1.0.0" / "dataset_info.json").unlink()
    report = lasot(shard_mib=0.03)
    assert report.shards["kept"] == 0
    assert sorted(files(lasot.out)) == sorted({**files(lasot(tmp_path / "new", shard_mib=0.03) and tmp_path / "new")})
    again = open_built(lasot.out, "lasot", "train", tmp_path)
    assert (
        again[1].boxes_xywh.tobytes()
        == open_dataset(layouts.dataset_layout("lasot"), "train", lasot.root, lasot.cache)[1].boxes_xywh.tobytes()
    )


def test_a_build_into_a_bucket_is_copied_and_read_again_there(lasot, monkeypatch, tmp_path):
    """A folder that is treated as a bucket: nothing is renamed into it, and every upload is compared."""
    lasot(tmp_path / "local")
    monkeypatch.setattr(tfds_shard, "is_local", lambda path: False)
    lasot()
    here, there = files(tmp_path / "local"), files(lasot.out)
    here.pop("lasot/.lock")
    assert there == here
    monkeypatch.setattr(tfds_shard, "is_intact", lambda *_, **__: False)
    with pytest.raises(UserError, match="is not what was uploaded"):
        lasot()


def test_one_build_at_a_time(lasot):
    with (
        tfds_build._exclusive_scratch(lasot.out / "lasot"),
        pytest.raises(UserError, match="another process is building there"),
    ):
        lasot()
    lasot()


def test_the_command_says_what_it_built_and_what_not(lasot, capsys, tmp_path):
    command = ["data", "build", "lasot", "--out", str(lasot.out), "--cache", str(lasot.cache), "--root"]
    shutil.rmtree(lasot.root / "airplane" / "airplane-1")
    shutil.rmtree(lasot.root / "bear" / "bear-2")
    (lasot.root / "bear" / "bear-1" / "groundtruth.txt").write_text("1,2,3\n")
    assert cli.main([*command, str(lasot.root)]) == 0
    said = capsys.readouterr().out.splitlines()
    said = [line for line in said if not line.startswith("without tiles")]  # where there is no jpegtran
    assert "LaSOT train: 1 sequences, 24 frames; 1 left out (1 unreadable annotation" in said[0]
    assert "2 written, all verified" in said[0] and said[1].startswith("LaSOT test: not built: ") and len(said) == 2
    assert cli.main([*command, str(lasot.root), "--split", "test"]) == 1
    assert cli.main([*command, str(tmp_path / "nowhere")]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert "no sequence of the test split" in said[-2]
    assert said[-1] == f"relo: {tmp_path}/nowhere: no such folder (looked for LaSOT)"
    command[command.index("--out") + 1] = "gs://bucket/x"
    assert cli.main([*command, str(lasot.root)]) == 1
    assert "gs://bucket/x: cannot be reached" in capsys.readouterr().err


def test_a_built_dataset_that_is_not_all_there_is_named(lasot, tmp_path):
    with pytest.raises(UserError, match=r"no built LaSOT: relo data build lasot --out"):
        open_built(lasot.out, "lasot", "train", tmp_path)
    lasot()
    with pytest.raises(UserError, match=r"no finished test split \(it has train\): build it with --split test"):
        open_built(lasot.out, "lasot", "test", tmp_path)
    again = open_built(lasot.out, "lasot", "train", tmp_path)
    for shard in (lasot.out / "lasot" / "frames" / "1.0.0").glob("*.array_record*"):
        shard.unlink()
    with pytest.raises(FrameError, match="frame 4 of train airplane-2"):
        again[0].read_encoded(4)
    with pytest.raises(IndexError):  # the next record is another sequence's
        again[0].read_encoded(24)
    (lasot.out / "lasot" / "frames" / "1.0.0" / "metadata.json").write_text("{")
    with pytest.raises(UserError, match=r"frames/1.0.0/metadata.json: cannot be read .* build the dataset again"):
        open_built(lasot.out, "lasot", "train", tmp_path)


def test_a_shard_that_fails_ends_the_others(lasot, monkeypatch):
    begun, ended = threading.Event(), []

    def write(examples, kind, numbers, path, done):
        if numbers.start == 0:
            begun.wait(10)
            raise OSError("the disk is full")
        try:
            for _ in range(1000):
                done()
                begun.set()
                time.sleep(0.01)
        except CancelledError:
            ended.append(path.name)
            raise

    monkeypatch.setattr(tfds_build, "_SHARDS_AT_ONCE", 2)
    monkeypatch.setattr(tfds_build.tfds_shard, "write", write)
    with pytest.raises(UserError, match="cannot be written: the disk is full"):
        lasot(shard_mib=0.01)
    assert len(ended) == 1


@pytest.mark.parametrize("size", [-1, 0, 1e-9, float("inf"), float("nan")])
def test_a_size_of_shards_that_makes_no_sense_is_named(size, lasot):
    with pytest.raises(UserError, match=f"--shard-mib {size:g}: give a size in MiB"):
        lasot(shard_mib=size)


def test_an_index_is_made_again_when_the_dataset_was_built_again(lasot, tmp_path):
    lasot()
    first = open_built(lasot.out, "lasot", "train", tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("built-lasot-train-*/*")}
    open_built(lasot.out, "lasot", "train", tmp_path)
    assert stamps == {p: p.stat().st_mtime_ns for p in tmp_path.glob("built-lasot-train-*/*")}
    for kind in KINDS:
        (lasot.out / "lasot" / kind / "1.0.0" / "dataset_info.json").unlink()
    groundtruth = lasot.root / "bear" / "bear-1" / "groundtruth.txt"
    groundtruth.write_text(groundtruth.read_text().replace("1", "2"))
    lasot()
    again = open_built(lasot.out, "lasot", "train", tmp_path)
    assert not np.array_equal(first[1].boxes_xywh, again[1].boxes_xywh)
    assert len(list(tmp_path.glob("built-lasot-train-*"))) == 1


@pytest.mark.parametrize("left", [0.5, 0.0])
@pytest.mark.parametrize("file", ["boxes.npy", "first.npy", "problems.json"])
def test_a_damaged_index_of_a_built_dataset_is_made_again(file, left, built, tmp_path):
    before = [s.boxes_xywh for s in open_built(built, "lasot", "train", tmp_path)]
    (index,) = tmp_path.glob("built-lasot-train-*")
    os.truncate(index / file, int(left * (index / file).stat().st_size))
    after = [s.boxes_xywh for s in open_built(built, "lasot", "train", tmp_path)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_sixteen_threads_read_the_right_bytes(roots, built, tmp_path):
    folders = open_dataset(layouts.dataset_layout("lasot"), "train", roots, tmp_path)
    again = open_built(built, "lasot", "train", tmp_path)
    wanted = [[sequence.read_encoded(k) for k in range(len(sequence))] for sequence in folders]
    drawn = np.random.default_rng(0).integers((0, 0), (len(folders), miniature.FRAMES), (3000, 2))
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda at: again[int(at[0])].read_encoded(int(at[1])), drawn))
    assert all(data == wanted[s][k] for (s, k), data in zip(drawn, read, strict=True))


WORKERS = """
import multiprocessing, pickle, sys, zlib

def check(dataset, numbers):
    return [zlib.crc32(dataset[s].read_encoded(k)) for s, k in numbers]

def answer(way, dataset, numbers):
    with multiprocessing.get_context(way).Pool(1) as pool:
        return pool.apply_async(check, [dataset, numbers]).get(60)

if __name__ == "__main__":
    dataset = pickle.load(open(sys.argv[1], "rb"))
    numbers = [(s, k) for s in range(len(dataset)) for k in range(0, 24, 3)]
    print(answer("fork", dataset, numbers))
    print(check(dataset, numbers))
    print(answer("spawn", dataset, numbers))
    answer("fork", dataset, numbers)
"""


def test_worker_processes_read_the_right_bytes_or_say_why_they_cannot(roots, built, tmp_path):
    """Forked before anything is read, or spawned; forked later they would hang now and then, and are refused."""
    again = open_built(built, "lasot", "train", tmp_path)
    (tmp_path / "dataset.pickle").write_bytes(pickle.dumps(again))
    assert (tmp_path / "dataset.pickle").stat().st_size < 2000
    (tmp_path / "workers.py").write_text(WORKERS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, tmp_path / "workers.py", tmp_path / "dataset.pickle"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    folders = open_dataset(layouts.dataset_layout("lasot"), "train", roots, tmp_path)
    wanted = str([zlib.crc32(s.read_encoded(k)) for s in folders for k in range(0, 24, 3)])
    assert done.stdout.splitlines() == [wanted] * 3, done.stderr
    assert "was read before this process was forked: start workers by spawn" in done.stderr


def test_more_shards_than_files_may_be_open_are_read(lasot, tmp_path):
    lasot(shard_mib=0.003)
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


def test_training_on_folders_imports_no_tensorflow_datasets():
    modules = "relo_jax.data.clips.pipeline, relo_jax.data.records.read"
    code = f"import {modules}, sys; print('tensorflow_datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Folders:
    """Sequences as lists of file names in folders, which is all that `SplitExamples` asks for before it reads."""

    def __init__(self, sequences):
        self.sequences = sequences

    def __len__(self):
        return len(self.sequences)

    def files(self, index):
        return self.sequences[index]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 15), st.integers(1, 2)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_sequences_that_share_frames_find_their_own(ranges):
    """Whatever parts of two folders are taken, a sequence's records are its files, in order."""
    sequences = [(f, [f"{k:03d}.jpg" for k in range(start, start + n * step, step)]) for f, start, n, step in ranges]
    examples = SplitExamples(Folders(sequences))
    stored = [(folder, name) for folder, names, _ in examples._runs for name in names]
    assert len(stored) == examples.counts["frames"]
    for index, (folder, names) in enumerate(sequences):
        first = examples._first[index]
        assert stored[first : first + len(names)] == [(folder, name) for name in names]
    if all(step == 1 for *_, step in ranges):
        gaps = any(  # a sequence that lies across frames that none has is one stretch all the same
            names != [n for n in sorted({m for g, ms in sequences if g == f for m in ms}) if names[0] <= n <= names[-1]]
            for f, names in sequences
        )
        assert gaps or len(stored) == len(set(stored))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 4), st.integers(1, 8))
def test_reading_ahead_keeps_the_order_and_its_bound(items, threads, ahead):
    started, taken = [], 0
    for item, wanted in zip(threaded_map(lambda x: started.append(x) or x, items, threads, ahead), items, strict=True):
        taken += 1
        assert item == wanted and len(started) <= taken + ahead


def test_a_failure_while_reading_ahead_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        list(threaded_map(lambda x: 1 // x, [1, 2, 0, 3]))


@pytest.mark.parametrize("mib", [0.005, 0.02, 0.05])
def test_shards_have_the_wanted_size(mib, lasot):
    examples = SplitExamples(open_dataset(layouts.dataset_layout("lasot"), "train", lasot.root, lasot.cache))
    bounds = examples.shards("frames", int(mib * 2**20))
    sizes = [
        sum(len(examples.example("frames", k)[0]["image"]) for k in range(*pair))
        for pair in zip(bounds, bounds[1:], strict=False)
    ]
    assert bounds[0] == 0 and bounds[-1] == 48 and bounds == sorted(set(bounds))
    assert np.mean(sizes) == pytest.approx(mib * 2**20, rel=0.35) and max(sizes) < 2 * mib * 2**20 + 4000
