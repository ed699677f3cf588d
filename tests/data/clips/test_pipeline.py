"""The pipeline: batches by index, the same for any number of threads, processes and hosts, from any position."""

import hashlib
import os
import pickle
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from relo_jax import config as configs
from relo_jax.config.data_options import ClipOptions, Options
from relo_jax.data import miniature
from relo_jax.data.clips import pipeline
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.index import open_dataset
from relo_jax.errors import UserError
from relo_jax.model.variants import variant_config

ROOT = Path(__file__).parents[3]

MODEL = variant_config("tiny", templates=2, template_size=32, search_size=64)


@pytest.fixture
def config():
    c = configs.base()
    c.batch_size = 4
    c.warmup.search_frames, c.rl.clip_length = 1, 3
    c.data.procedural.bank_size, c.data.procedural.num_frames = 24, 40
    return c


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_batches_do_not_depend_on_the_number_of_threads(config):
    runs = []
    for workers in (0, 1, 3):
        config.data.workers = workers
        runs.append(take(iter(pipeline.make_dataset(config, MODEL)), 3))
    for other in runs[1:]:
        assert all(same(a, b) for a, b in zip(runs[0], other, strict=True))


def test_a_batch_consists_of_consecutive_clips(config):
    batch = take(iter(pipeline.make_dataset(config, MODEL)), 2)[1]
    assert batch["index"].tolist() == [4, 5, 6, 7] and batch["index"].dtype == np.int64
    assert batch["search_images"].shape == (4, 1, 64, 64, 3) and batch["search_images"].dtype == np.uint8
    assert batch["template_boxes_xywh"].shape == (4, 2, 4)
    source = pipeline.clip_source(config, MODEL)
    assert same(source[6], {k: v[2] for k, v in batch.items()})
    assert source.describe(6) == "procedural-train-0-000006"


def test_iteration_can_start_at_any_batch(config):
    batches = pipeline.make_dataset(config, MODEL)
    expected = take(iter(batches), 4)[2:]
    assert all(same(a, b) for a, b in zip(expected, take(batches.starting_at(2), 2), strict=True))


def test_the_stage_sets_the_length_of_clips(config):
    assert pipeline.clip_source(config, MODEL, "warmup")[0]["search_images"].shape[0] == 1
    assert pipeline.clip_source(config, MODEL, "rl")[0]["search_images"].shape[0] == 3
    config.stage = "rl"
    assert pipeline.clip_source(config, MODEL)[0]["search_images"].shape[0] == 3


def test_held_out_clips_differ_from_training_clips_and_are_the_same_for_all_seeds(config):
    train, heldout = (pipeline.clip_source(config, MODEL, train=t) for t in (True, False))
    assert not np.array_equal(train[0]["search_images"], heldout[0]["search_images"])
    config.data.seed = 5
    others, again = (pipeline.clip_source(config, MODEL, train=t) for t in (True, False))
    assert not np.array_equal(train[0]["search_images"], others[0]["search_images"]) and same(heldout[0], again[0])
    assert heldout.describe(0).startswith("procedural-heldout")


def test_a_host_gets_its_rows_of_each_batch(config):
    indices = []
    for rows in ([0, 1], [2, 3], [0, 3]):
        batches = take(pipeline.make_dataset(config, MODEL).starting_at(3, rows), 2)
        indices.append([b["index"].tolist() for b in batches])
    assert indices == [[[12, 13], [16, 17]], [[14, 15], [18, 19]], [[12, 15], [16, 19]]]


def test_a_missing_folder_is_named(config, tmp_path):
    config.data.name, config.data.root = "folder", str(tmp_path / "none")
    with pytest.raises(UserError, match="none: no such folder"):
        pipeline.make_dataset(config, MODEL)


def test_the_same_config_reads_real_folders_and_photographs(config, shared):
    config.data.name, config.data.root, config.data.one_based = "folder", str(shared / "data" / "otb_mini"), True
    batch = next(iter(pipeline.make_dataset(config, MODEL)))
    assert batch["search_images"].std() > 10
    assert np.isfinite(batch["search_boxes_xywh"]).all()
    config.data.name, config.data.root = "photos", str(shared / "data" / "photos")
    assert next(iter(pipeline.make_dataset(config, MODEL)))["template_images"].std() > 10


def test_worker_processes_read_folders_too(config, tmp_path):
    for seed in range(2):
        folder, boxes = tmp_path / f"walk{seed}", miniature.walk(seed=seed)
        miniature.write_frames(folder / "img", boxes, seed=seed)
        (folder / "groundtruth.txt").write_text(miniature.lines(boxes))
    config.data.name, config.data.root = "folder+procedural", str(tmp_path)
    source = pipeline.clip_source(config, MODEL)
    threads, workers = (digests(pipeline.batches(source, 4, 1, processes), 1, 8) for processes in (0, 1))
    assert threads == workers


def test_held_out_clips_leave_out_datasets_of_weight_0(config, tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    config.data.name, config.data.root, config.data.weights = "lasot+procedural", str(tmp_path), (0.0, 1.0)
    assert [part.name for part in pipeline.parts(config.data, train=False, cache=tmp_path)] == ["procedural"]


def test_the_config_lists_every_option_of_procedural_clips_with_its_default():
    assert configs.base().data.procedural.to_dict() == asdict(Options())


@pytest.fixture(scope="module")
def lasot(tmp_path_factory):
    """Clips of a tiny dataset on disk."""
    root = tmp_path_factory.mktemp("lasot")
    miniature.lasot(root)
    dataset = open_dataset(layouts.dataset_layout("lasot"), "train", root, tmp_path_factory.mktemp("cache"))
    options = ClipOptions(templates=1, frames=2, template_size=16, search_size=32)
    return ClipSource([MixturePart("lasot", dataset), MixturePart("again", dataset, 0.5)], options, seed=3)


def digest(batch, row):
    """A hash of all fields of one clip of a batch."""
    return hashlib.blake2b(b"".join(batch[name][row].tobytes() for name in sorted(batch))).hexdigest()


def digests(batches, first, count, rows=None):
    """Hashes by index of at least `count` clips from batch `first` on."""
    iterator, hashes = batches.starting_at(first, rows), {}
    while len(hashes) < count:
        batch = next(iterator)
        for row, index in enumerate(batch["index"].tolist()):
            assert index not in hashes
            hashes[index] = digest(batch, row)
    iterator.close()
    return hashes


def test_the_first_thousand_clips_are_the_same_for_any_number_of_threads_processes_and_hosts(lasot):
    count, runs = 1000, {}
    for threads, processes in ((0, 0), (1, 0), (4, 0), (0, 1), (1, 2)):
        runs[threads, processes] = digests(pipeline.batches(lasot, 8, threads, processes), 0, count)
    hosts = {}
    for rows in (range(4), range(4, 8)):
        hosts |= digests(pipeline.batches(lasot, 8, 1), 0, count // 2, rows)
    runs["two hosts"] = hosts
    expected = runs.pop((0, 0))
    assert sorted(expected) == list(range(count)) and len(set(expected.values())) == count
    for setting, hashes in runs.items():
        assert hashes == expected, setting


@dataclass(frozen=True)
class RecordedClips:
    """Clips that leave a file in a folder when they are read."""

    folder: Path

    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        (self.folder / str(index)).touch()
        return {"index": np.int64(index)}


@pytest.mark.parametrize(("threads", "processes"), [(2, 0), (1, 1)])
def test_read_ahead_is_the_number_of_batches_read_in_advance(threads, processes, tmp_path):
    batches = pipeline.batches(RecordedClips(tmp_path), 4, threads, processes)
    iterator, previous, count = batches.starting_at(0), -1, 0
    next(iterator)
    until = time.monotonic() + 30  # the machine may be busy
    while count != previous or count < 4 * batches.read_ahead and time.monotonic() < until:
        time.sleep(1)
        previous, count = count, len(list(tmp_path.iterdir()))
    iterator.close()
    assert batches.read_ahead - 1 <= count / 4 - 1 <= batches.read_ahead


@pytest.mark.parametrize(
    ("end", "status"), [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("pass", 0), ("sys.exit(3)", 3)]
)
def test_worker_processes_ignore_signals_and_end_with_their_parent(end, status, lasot, tmp_path):
    """However the parent ends, and without a `close()` of the iterator."""
    source = tmp_path / "source.pickle"
    source.write_bytes(pickle.dumps(lasot))
    code = f"""
import multiprocessing, os, pickle, signal, sys, time
from pathlib import Path
from relo_jax.data.clips import pipeline

if __name__ == "__main__":
    iterator = pipeline.batches(pickle.loads(Path({str(source)!r}).read_bytes()), 8, 1, 2).starting_at(0)
    until = time.monotonic() + 20
    while len(workers := [worker.pid for worker in multiprocessing.active_children()]) < 2:
        assert time.monotonic() < until, "the workers do not start"
    for _ in range(10):
        for worker in workers:
            os.kill(worker, signal.SIGINT)
            os.kill(worker, signal.SIGTERM)
        next(iterator)
    print(*workers, flush=True)
    {end}
"""
    (tmp_path / "reader.py").write_text(code)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    reader = subprocess.Popen([sys.executable, tmp_path / "reader.py"], env=env, stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in reader.stdout.readline().split()]
    assert reader.wait(60) == status and len(workers) == 2
    is_running = lambda pid: Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    until = time.monotonic() + 20
    while any(map(is_running, workers)):
        assert time.monotonic() < until, "the workers are still running"
        time.sleep(0.1)


def test_a_killed_reader_continues_with_the_next_batch(lasot, tmp_path):
    """A process logs the hash of each clip, one batch at a time; it is killed twice, at arbitrary moments."""
    log, source = tmp_path / "log", tmp_path / "source.pickle"
    source.write_bytes(pickle.dumps(lasot))
    code = f"""
import pickle, time
from pathlib import Path
from relo_jax.data.clips import pipeline
from tests.data.clips.test_pipeline import digest

log = Path({str(log)!r})
batches = pipeline.batches(pickle.loads(Path({str(source)!r}).read_bytes()), 8, 2)
done = len(log.read_text().splitlines()) // 8 if log.exists() else 0
iterator = batches.starting_at(done)
for _ in range(done, 100):
    batch = next(iterator)
    lines = [f"{{index}} {{digest(batch, row)}}\\n" for row, index in enumerate(batch["index"])]
    with log.open("a") as file:
        file.write("".join(lines))
    time.sleep(0.01)  # time to be killed
"""
    logged = lambda: log.read_text().splitlines() if log.exists() else []
    for kills in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        before = len(logged())
        while process.poll() is None:
            time.sleep(0.005)
            if kills < 2 and len(logged()) > before + 100:
                process.kill()
        assert process.returncode == (0 if kills == 2 else -9)
    expected = digests(pipeline.batches(lasot, 8, 0), 0, 800)
    assert logged() == [f"{index} {hashed}" for index, hashed in expected.items()]
