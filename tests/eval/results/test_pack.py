"""Packs: the servers' layouts to the byte, and nothing is written if a server would not understand it."""

import shutil
import zipfile

import numpy as np
import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import split_lists
from relo_jax.errors import UserError
from relo_jax.eval.results.pack import PackError, pack

FRAMES = miniature.FRAMES
GOT10K = [f"GOT-10k_Test_{number:06d}" for number in range(1, 181)]
BOXES = miniature.walk(seed=0)  # of the first sequence of every miniature's test split


def write_got10k(folder):
    """Writes boxes, times and scores of all 180 sequences of GOT-10k's test split, as `relo eval` does."""
    folder.mkdir()
    texts = ["".join(",".join(f"{v:.4f}" for v in b) + "\n" for b in miniature.walk(seed=seed)) for seed in (0, 1)]
    for number, name in enumerate(GOT10K):
        (folder / f"{name}.txt").write_text(texts[number % 2])
        (folder / f"{name}_time.txt").write_text("0.020000\n" * FRAMES)
        (folder / f"{name}_score.txt").write_text("0.900000\n" * FRAMES)
    return folder


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two sequences of GOT-10k's test split, and one of TrackingNet's."""
    root = tmp_path_factory.mktemp("datasets")
    miniature.got10k(root / "GOT-10k")
    miniature.trackingnet(root / "TrackingNet")
    return root


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No datasets of this machine, and an empty working directory."""
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results(tmp_path):
    return write_got10k(tmp_path / "results")


def test_got10k_is_as_the_release_writes_it(results, datasets, tmp_path):
    packed = pack("got10k", results, tmp_path / "a.zip", datasets)
    assert packed.what == "whole-number boxes: truncated, as those behind published numbers" and not packed.notes
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        rows = archive.read(f"{GOT10K[0]}/{GOT10K[0]}_001.txt").decode()
        times = archive.read(f"{GOT10K[0]}/{GOT10K[0]}_time.txt").decode()
    assert rows == "".join(",".join(str(int(v)) for v in box) + "\n" for box in BOXES)
    assert times == "0.020000\n" * FRAMES


def test_float_boxes_are_as_the_toolkit_writes_them(results, datasets, tmp_path):
    packed = pack("got10k", results, tmp_path / "a.zip", datasets, float_boxes=True)
    assert packed.what == "float boxes: published numbers are those of whole-number boxes, and lower"
    assert (packed.sequences, packed.boxes, packed.checked, packed.notes) == (180, 180 * FRAMES, 2, ())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(f"{n}/{n}{end}" for n in GOT10K for end in ("_001.txt", "_time.txt"))
        boxes = archive.read(f"{GOT10K[0]}/{GOT10K[0]}_001.txt").decode()
        times = archive.read(f"{GOT10K[0]}/{GOT10K[0]}_time.txt").decode()
    assert boxes == (results / f"{GOT10K[0]}.txt").read_text()
    assert times == "0.02000000\n" * FRAMES


def test_what_was_packed_packs_to_the_same_bytes(results, tmp_path):
    pack("got10k", results, tmp_path / "a.zip")
    shutil.unpack_archive(tmp_path / "a.zip", tmp_path / "again")
    packed = pack("got10k", tmp_path / "again", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert packed.what == "whole-number boxes, as the results have them"


def test_results_of_two_runs_are_noted_or_refused(results, tmp_path):
    np.savetxt(results / f"{GOT10K[5]}.txt", BOXES.astype(int), fmt="%d", delimiter=",")
    packed = pack("got10k", results, tmp_path / "a.zip")
    files = "GOT-10k_Test_000006.txt has whole numbers, GOT-10k_Test_000001.txt fractions: "
    assert packed.notes[0].endswith(f"{files}all are truncated") and packed.what.startswith("whole-number boxes: trunc")
    with pytest.raises(PackError, match="b.zip was not written: results of two runs") as caught:
        pack("got10k", results, tmp_path / "b.zip", float_boxes=True)
    assert f"{files}evaluate again" in caught.value.problems[0] and not (tmp_path / "b.zip").exists()


def test_trackingnet_is_flat_and_with_commas_whatever_the_results_have(datasets, tmp_path):
    names = split_lists.official("trackingnet", "test.txt")
    assert len(names) == 511
    for name in names:
        (tmp_path / "results" / "trackingnet").mkdir(parents=True, exist_ok=True)
        np.savetxt(tmp_path / "results" / "trackingnet" / f"{name}.txt", BOXES, fmt="%d", delimiter="\t")
    packed = pack("trackingnet", tmp_path / "results", tmp_path / "a.zip", datasets)
    assert (packed.sequences, packed.checked) == (511, 1)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == sorted(f"{name}.txt" for name in names)
        rows = archive.read(f"{names[0]}.txt").decode().splitlines()
    assert [[float(v) for v in row.split(",")] for row in rows] == np.trunc(BOXES).tolist()


def drop(folder):
    (folder / f"{GOT10K[5]}.txt").unlink()


def drop_times(folder):
    (folder / f"{GOT10K[5]}_time.txt").unlink()


def no_time(folder):
    np.savetxt(folder / f"{GOT10K[5]}_time.txt", np.zeros(FRAMES))


def cut_times(folder):
    np.savetxt(folder / f"{GOT10K[5]}_time.txt", np.ones(FRAMES - 3))


def cut(folder):
    np.savetxt(folder / f"{GOT10K[0]}.txt", BOXES[:-2], delimiter=",")
    np.savetxt(folder / f"{GOT10K[0]}_time.txt", np.ones(FRAMES - 2))


def not_finite(folder):
    np.savetxt(folder / f"{GOT10K[5]}.txt", np.where(np.arange(FRAMES)[:, None] == 3, np.nan, BOXES), delimiter=",")


def of_another(folder):
    np.savetxt(folder / f"{GOT10K[0]}.txt", BOXES + [40, 30, 0, 0], delimiter=",")


def of_validation(folder):
    np.savetxt(folder / "GOT-10k_Val_000001.txt", BOXES, delimiter=",")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, "GOT-10k_Test_000006: has no result"),
        (drop_times, "GOT-10k_Test_000006.txt: has no file of times beside it"),
        (no_time, "GOT-10k_Test_000006_time.txt: no frame took any time"),
        (cut_times, f"GOT-10k_Test_000006_time.txt: has {FRAMES - 3} times for {FRAMES} frames"),
        (cut, f"GOT-10k_Test_000001.txt: has {FRAMES - 2} boxes for {FRAMES} frames"),
        (not_finite, "GOT-10k_Test_000006.txt, line 4: nan"),
        (of_another, "GOT-10k_Test_000001.txt: its first box is"),
        (of_validation, "GOT-10k_Val_000001: is not a sequence of GOT-10k's test split"),
    ],
)
def test_what_a_server_would_not_understand_is_not_packed(damage, message, results, datasets, tmp_path):
    damage(results)
    with pytest.raises(PackError, match="a.zip was not written: a file") as caught:
        pack("got10k", results, tmp_path / "a.zip", datasets)
    (problem,) = caught.value.problems
    assert message in problem
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("server", "out", "message"),
    [
        ("lasot", "a.zip", r"no evaluation server takes 'lasot' \(known: got10k, trackingnet\)"),
        ("got10k", "a.tar", "a.tar: the server takes a zip"),
        ("got10k", "nowhere/a.zip", "there is no folder nowhere"),
    ],
)
def test_a_mistake_is_one_line(server, out, message, results):
    with pytest.raises(UserError, match=message):
        pack(server, results, out)


def test_a_dataset_that_is_named_must_be_there(results, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        pack("got10k", results, tmp_path / "a.zip", tmp_path / "nowhere")
