"""The GOT-10k toolkit runs RELO, and its numbers equal ours on the same results."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from relo_jax.data.datasets.folder import read_folder
from relo_jax.eval import metrics
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.eval.report.comparison import compare
from relo_jax.eval.results.pack import pack
from relo_jax.eval.results.read import beside, find_results, read_result, read_times
from relo_jax.media.images import list_images

# OTB's experiment knows only these names. The results of "wild" are made up.
OTB_NAMES = ("Basketball", "Biker", "Bird1", "BlurBody", "BlurCar2", "BlurFace", "BlurOwl", "Bolt")
SCRIPT = """
import json, os
from pathlib import Path
from PIL import Image
from got10k.datasets import OTB
from got10k.experiments import ExperimentGOT10k, ExperimentOTB
from relo_jax.integrations.got10k import RELOTracker

relo = RELOTracker("starter-tiny")
got10k = ExperimentGOT10k("GOT-10k", subset="val")
got10k.run(relo)
of_got10k = got10k.report(["RELO", "wild"])

# OTB gets the same sequences and results. Its experiment would download every sequence without a folder.
for name in OTB._OTB__version_dict[2015]:
    os.makedirs(f"OTB/{name}", exist_ok=True)
for tracker in ("RELO", "wild"):
    os.makedirs(f"results/OTB2015/{tracker}")
    for name, other in zip(got10k.dataset.seq_names, OTB_NAMES):
        os.link(f"results/GOT-10k/{tracker}/{name}/{name}_001.txt", f"results/OTB2015/{tracker}/{other}.txt")
of_otb = ExperimentOTB("OTB", version=2015).report(["RELO", "wild"])

files, truth = got10k.dataset[0][:2]
first, second = (Image.open(file) for file in files[:2])
relo.init(first, truth[0])
answer = relo.update(second)
from_one = RELOTracker("starter-tiny", one_based=True)
from_one.init(first, truth[0] + [1, 1, 0, 0])
shift = from_one.update(second) - answer
Path("numbers.json").write_text(json.dumps({"got10k": of_got10k, "otb": of_otb, "shift": shift.tolist()}))
"""


def size_of(sequence):
    height, width = sequence.read_frame(0).shape[:2]
    return width, height


def covered(sequence):
    """The frames in which this test marks the target as fully covered, as GOT-10k does."""
    return np.arange(len(sequence)) % 9 == 5


def truth_of(sequence):
    """The boxes of a sequence, float64 [F, 4]; frames 13 and 14 have none, and frame 14 is covered."""
    boxes = sequence.boxes_xywh.copy()
    boxes[13:15, 2:] = 0
    return boxes


def lay_out_got10k(folder, sequence, frames):
    """Writes a sequence in the layout of the validation split."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        (folder / f"{number:08d}.jpg").symlink_to(frame)
    np.savetxt(folder / "groundtruth.txt", truth_of(sequence), delimiter=",")
    (folder / "meta_info.ini").write_text(f"[METAINFO]\nresolution: {size_of(sequence)}\n")
    # Some frames marked as absent are not covered, and the toolkit counts them.
    cover, absent = 8 * ~covered(sequence), np.arange(len(sequence)) % 6 == 5
    for label, values in (("cover", cover), ("absence", absent), ("cut_by_image", 0 * absent)):
        np.savetxt(folder / f"{label}.label", values, fmt="%d")


def lay_out_otb(folder, sequence, frames):
    """Writes a sequence in the layout of OTB."""
    (folder / "img").mkdir(parents=True)
    for frame in frames:
        (folder / "img" / frame.name).symlink_to(frame)
    np.savetxt(folder / "groundtruth_rect.txt", sequence.boxes_xywh, delimiter="\t")


def write_random_results(folder, sequence, seed):
    """Writes results near the truth and far from it, some across the image's border and some beyond it."""
    rng, truth, (width, height) = np.random.default_rng(seed), sequence.boxes_xywh, size_of(sequence)
    away = rng.normal(size=(len(truth), 2)) * rng.choice([0.02, 0.1, 0.5], (len(truth), 1)) * truth[:, 2:]
    made = np.concatenate([truth[:, :2] + away, truth[:, 2:] * np.exp(0.2 * rng.normal(size=(len(truth), 2)))], 1)
    made[7], made[11], made[15] = (-60, -50, 40, 30), (width - 10, height - 8, 50, 40), (width + 5, 3, 20, 20)
    made[0] = truth[0]
    folder.mkdir(parents=True)
    np.savetxt(folder / f"{folder.name}_001.txt", made, fmt="%.3f", delimiter=",")
    np.savetxt(folder / f"{folder.name}_time.txt", np.full(len(truth), 0.01))


def check_got10k(predicted, sequences, theirs):
    """Compares AO, SR and success curve, of all frames and of each sequence."""
    overlaps = [
        metrics.got10k_overlaps(p, truth_of(s), size_of(s), ~covered(s))
        for p, s in zip(predicted, sequences, strict=True)
    ]
    mine, curve = metrics.got10k_numbers(overlaps), np.array(theirs["overall"]["succ_curve"])
    assert [mine["ao"], mine["sr50"]] == pytest.approx([theirs["overall"]["ao"], theirs["overall"]["sr"]], abs=1e-6)
    assert [mine["sr50"], mine["sr75"]] == pytest.approx(curve[[50, 75]], abs=1e-6)
    assert (np.concatenate(overlaps)[:, None] > np.linspace(0, 1, 101)).mean(0) == pytest.approx(curve, abs=1e-6)
    for part, one in zip(overlaps, theirs["seq_wise"].values(), strict=True):
        mine = metrics.got10k_numbers([part])
        assert [mine["ao"], mine["sr50"]] == pytest.approx([one["ao"], one["sr"]], abs=1e-6)


def check_comparison(root, theirs):
    """Compares the toolkit's numbers with our comparison of the same folders."""
    benchmark = open_benchmark("got10k", root, "val", cache=root / "cache")
    folders = {tracker: root / "results" / "GOT-10k" / tracker for tracker in theirs}
    comparison = compare(benchmark, folders, resamples=100)
    for tracker, numbers in theirs.items():
        mine, curve = comparison.overall(tracker), numbers["overall"]["succ_curve"]
        expected = [numbers["overall"]["ao"], numbers["overall"]["sr"], curve[75]]
        assert [mine["ao"], mine["sr50"], mine["sr75"]] == pytest.approx(expected, abs=1e-6)
        for name, one in numbers["seq_wise"].items():
            mine = comparison.entries[tracker].numbers[name]
            assert [mine["ao"], mine["sr50"]] == pytest.approx([one["ao"], one["sr"]], abs=1e-6)
    assert comparison.names == tuple(theirs["RELO"]["seq_wise"])


def check_otb(predicted, sequences, theirs):
    """Compares success and precision, of each sequence and their mean."""
    curves = [metrics.measure(p, s.boxes_xywh) for p, s in zip(predicted, sequences, strict=True)]
    of_all = [*theirs["seq_wise"].values(), theirs["overall"]]
    for mine, one in zip([*curves, metrics.mean(curves)], of_all, strict=True):
        assert mine.success == pytest.approx(np.array(one["success_curve"]), abs=1e-6)
        assert mine.precision == pytest.approx(np.array(one["precision_curve"]), abs=1e-6)
        assert [mine.auc, mine.p20] == pytest.approx([one["success_score"], one["precision_score"]], abs=1e-6)


# One test, so that the experiment runs only once when the tests are split among processes.
def test_the_toolkit_runs_relo_and_its_numbers_equal_ours(toolkits, shared, tmp_path):
    sequences = read_folder(shared / "data" / "otb_mini")
    names = [f"GOT-10k_Val_{k:06d}" for k in range(1, len(sequences) + 1)]
    for seed, (name, other, sequence) in enumerate(zip(names, OTB_NAMES, sequences, strict=True)):
        frames = list_images(shared / "data" / "otb_mini" / sequence.name)
        lay_out_got10k(tmp_path / "GOT-10k" / "val" / name, sequence, frames)
        lay_out_otb(tmp_path / "OTB" / other, sequence, frames)
        write_random_results(tmp_path / "results" / "GOT-10k" / "wild" / name, sequence, seed)
    (tmp_path / "GOT-10k" / "val" / "list.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "run.py").write_text(f"OTB_NAMES = {OTB_NAMES}\n{SCRIPT}")
    toolkits("python", "run.py", cwd=tmp_path)
    numbers = json.loads((tmp_path / "numbers.json").read_text())

    for tracker in ("RELO", "wild"):
        folder = tmp_path / "results" / "GOT-10k" / tracker
        files = list(zip(find_results(folder).values(), sequences, strict=True))
        predicted = [read_result(path, len(s), first=s.boxes_xywh[0]).boxes_xywh for path, s in files]
        check_got10k(predicted, sequences, numbers["got10k"][tracker])
        check_otb(predicted, sequences, numbers["otb"][tracker])
        assert all((read_times(beside(path, "time"), len(s))[1:] > 0).all() for path, s in files)
        assert len(list(folder.glob("*/*_00?.txt"))) == len(sequences)  # one run each
    check_comparison(tmp_path, numbers["got10k"])
    assert numbers["got10k"]["RELO"]["overall"]["ao"] > 0.3
    assert numbers["shift"] == pytest.approx([1, 1, 0, 0], abs=1e-3)
    for report in ("reports/GOT-10k/RELO/success_plot.png", "reports/OTB2015/RELO/precision_plots.png"):
        assert (tmp_path / report).stat().st_size > 1000


def test_the_toolkit_packs_the_same_files(toolkits, tmp_path, monkeypatch):
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    names = [f"GOT-10k_Test_{number:06d}" for number in range(1, 181)]
    for name in names:
        results = tmp_path / "results" / "GOT-10k" / "RELO" / name
        results.mkdir(parents=True)
        (results / f"{name}_001.txt").write_text("10.0000,20.0000,30.0000,40.0000\n" * 3)
        (results / f"{name}_time.txt").write_text("0.01000000\n" * 3)
        (tmp_path / "GOT-10k" / "test" / name).mkdir(parents=True)
    (tmp_path / "GOT-10k" / "test" / "list.txt").write_text("\n".join(names))
    report = "from got10k.experiments import *; ExperimentGOT10k('GOT-10k', subset='test').report(['RELO'])"
    toolkits("python", "-c", report, cwd=tmp_path)
    pack("got10k", tmp_path / "results" / "GOT-10k" / "RELO", tmp_path / "ours.zip", float_boxes=True)
    with (
        zipfile.ZipFile(tmp_path / "ours.zip") as ours,
        zipfile.ZipFile(tmp_path / "results/GOT-10k/RELO.zip") as theirs,
    ):
        files = [name for name in theirs.namelist() if not name.endswith("/")]
        assert sorted(files) == ours.namelist()
        assert all(ours.read(name) == theirs.read(name) for name in files)


def test_without_the_toolkit_it_says_what_to_install():
    code = "import sys; sys.modules['got10k'] = None; import relo_jax.integrations.got10k"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'relo-jax[got10k]' brings it" in done.stderr.splitlines()[-1]
