"""`relo reproduce`: measured and published results side by side, missing datasets named, and it continues."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.eval import by_config, reproduce, runner
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.model import RELO
from tests.eval.test_evaluation import Oracle


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    for name in ("lasot_ext", "trackingnet", "nfs"):
        miniature.MAKERS[name](root / layouts.dataset_layout(name).folders[0])
    return root


@pytest.fixture(autouse=True)
def b256(tmp_path, monkeypatch):
    """A B256 that knows the truth, in a folder of its own."""
    loaded = checkpoint.Loaded(RELO.from_variant("b256"), {"params": {}}, {"tracker": {}})
    monkeypatch.setattr(runner, "Lockstep", Oracle)
    monkeypatch.setattr(reproduce.checkpoints, "load_tracker", lambda path, dtype: loaded)
    card = {"kind": "file", "name": "b.pth.tar", "sha256": "12ab"}
    monkeypatch.setattr(reproduce.model_card, "of_checkpoint", lambda path: card)
    monkeypatch.chdir(tmp_path)


class Noisy(Oracle):
    """Boxes close to those of the `Oracle`; two of them are narrower than a pixel."""

    def run(self, sequences, advance):
        rng = np.random.default_rng(0)
        for tracked in super().run(sequences, advance):
            tracked.boxes_xywh[1:] += rng.normal(0, 0.3, tracked.boxes_xywh[1:].shape)
            tracked.boxes_xywh[[5, 6], 2] = 0.7
            yield tracked


def auc_by_the_release(folder: Path, sequence, flags: bool) -> float:
    """The AUC of a file of float boxes as the release would have it: box by box, from its truncated boxes."""
    boxes = [[int(float(v)) for v in line.split(",")] for line in (folder / f"{sequence.name}.txt").open()]
    overlaps = []
    for k, (x, y, w, h) in enumerate(sequence.boxes_xywh):
        if k and 0 in boxes[k][2:]:
            boxes[k] = boxes[k - 1]
        px, py, pw, ph = boxes[k] if k else (x, y, w, h)
        shown = w > 0 and h > 0 and not (flags and not sequence.counted[k])
        right, low = min(px + pw - 1, x + w - 1), min(py + ph - 1, y + h - 1)
        common = max(0, right - max(px, x) + 1) * max(0, low - max(py, y) + 1)
        overlaps.append(common / (pw * ph + w * h - common) if shown else -1)
    return sum(sum(o > threshold * 0.05 for o in overlaps) / len(overlaps) for threshold in range(21)) / 21


def test_the_first_column_is_measured_by_the_rule_of_the_release(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "Lockstep", Noisy)
    reproduce.reproduce("b256", "b.pth.tar", root, datasets=["lasot_ext", "nfs"])
    found = json.loads((tmp_path / "results" / "b" / "reproduce.json").read_text())
    assert "truncated to whole numbers" in found["boxes"]
    printed = capsys.readouterr().out
    for name, flags in (("lasot_ext", True), ("nfs", False)):
        folder, row = tmp_path / "results" / "b" / name, found["datasets"][name]
        expected = [auc_by_the_release(folder, sequence, flags) for sequence in open_benchmark(name, root)]
        assert row["measured"] == pytest.approx(100 * np.mean(expected), abs=1e-9)
        summary = json.loads((folder / "summary.json").read_text())
        assert row["float_boxes"] == pytest.approx(100 * summary["mean"]["auc"])
        assert row["float_boxes"] - row["measured"] > 1  # targets of 20 px
        assert row["difference"] == pytest.approx(row["measured"] - row["published"])
        (line,) = (line for line in printed.splitlines() if line.startswith(layouts.dataset_layout(name).title + "  "))
        numbers = [f"{row['measured']:.1f}", f"({row['difference']:+.1f})", f"{row['float_boxes']:.1f}"]
        assert line.split()[-7:-4] == numbers  # frames/s, "3 of 100"


def test_measured_and_published_results_are_side_by_side(root, tmp_path, capsys):
    reproduce.reproduce("b256", "b.pth.tar", root)
    found = json.loads((tmp_path / "results" / "b" / "reproduce.json").read_text())
    rows = found["datasets"]
    assert list(rows) == ["lasot", "lasot_ext", "trackingnet", "got10k", "tnl2k", "nfs", "uav123"]
    assert found["dtype"] == "float32" and found["checkpoint"]["sha256"] == "12ab"
    states = {name: row["state"] for name, row in rows.items()}
    assert {name for name, state in states.items() if state == "absent"} == {"lasot", "got10k", "tnl2k", "uav123"}
    assert states["trackingnet"] == "server" and "measured" not in rows["trackingnet"]
    summary = json.loads((tmp_path / "results" / "b" / "lasot_ext" / "summary.json").read_text())
    row = rows["lasot_ext"]
    assert row["measured"] == pytest.approx(100 * summary["as_published"]["auc"]) and row["published"] == 54.2
    assert row["difference"] == pytest.approx(row["measured"] - 54.2) and row["frames_per_second"] == pytest.approx(100)
    assert (row["evaluated"], row["published_sequences"]) == (3, 150)
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("NFS  "))
    numbers = [f"{rows['nfs'][key]:.1f}" for key in ("measured", "difference", "float_boxes")]
    numbers[1] = f"(+{numbers[1]})"
    assert line.split()[1:] == ["70.0", *numbers, "100.0", "3", "of", "100"]
    assert printed.splitlines()[-3].startswith("As published: measured on boxes truncated to whole numbers")
    page = (tmp_path / "results" / "b" / "reproduce.md").read_text()
    assert f"| NFS | 70.0 | {' | '.join(numbers)} | 100.0 | 3 of 100 |" in page
    assert "`12ab`), computed in float32." in page and "\n\nAs published: measured on boxes truncated to whole" in page
    assert "| dataset | paper | as published | difference | float boxes | frames/s | sequences |" in page
    assert "| LaSOT | 73.3 | - | - | - | - | not here: " in page and "relo pack trackingnet" in page


def test_a_difference_over_all_sequences_stands_without_brackets():
    row = {"state": "measured", "published": 70.0, "measured": 69.5, "difference": -0.5, "evaluated": 100, "failed": 0}
    row |= {"published_sequences": 100, "frames_per_second": None, "results": "x", "float_boxes": 71.0}
    line = reproduce.table("b256", {"nfs": row}).splitlines()[1]
    assert line.split() == ["NFS", "70.0", "69.5", "-0.5", "71.0", "-", "all", "100"]


def test_a_whole_dataset_has_its_place_among_the_papers_trackers_and_a_part_has_none():
    row = {"state": "measured", "published": 70.0, "measured": 69.5, "difference": -0.5, "evaluated": 100, "failed": 0}
    row |= {"published_sequences": 100, "frames_per_second": None, "results": "x", "float_boxes": 69.9}
    row["numbers"] = {"auc": 69.5, "p20": 80.0, "np20": 85.0}
    page = reproduce.markdown("b256", {"name": "b.pth.tar"}, "float32", {"nfs": row, "uav123": row | {"evaluated": 9}})
    assert "| RELO-B256 | 70.0 |\n| **RELO-B256, measured** | **69.5** |\n| ARTrack-L384 | 67.9 |" in page
    assert page.count("RELO-B256, measured") == 1 and "by whole-number boxes" in page
    assert "Among" not in reproduce.markdown("b256", {"name": "b"}, "float32", {"nfs": row | {"evaluated": 9}})


def test_it_continues_where_it_was_stopped(root, tmp_path, monkeypatch):
    run = []

    class Stopped(Oracle):
        def run(self, sequences, advance):
            for tracked in super().run(sequences, advance):
                if len(run) == 4:
                    raise KeyboardInterrupt
                run.append(tracked.sequence.name)
                yield tracked

    monkeypatch.setattr(runner, "Lockstep", Stopped)
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce("b256", "b.pth.tar", root)
    folder = tmp_path / "results" / "b"
    assert list(json.loads((folder / "reproduce.json").read_text())["datasets"])[:3] == [
        "lasot", "lasot_ext", "trackingnet",
    ]  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*_time.txt")}
    assert len(before) == 4 and len(run) == 4
    run.append("the stop")  # so that it is not stopped again
    reproduce.reproduce("b256", "b.pth.tar", root)
    assert sorted(run) == sorted({*run}) and len(run) == 8  # 3 + 1 + 3 sequences, each once
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_config_beside_results_gives_them_again(root, tmp_path):
    reproduce.reproduce("b256", "b.pth.tar", root, datasets=["lasot_ext"], batch=3)
    folder = tmp_path / "results" / "b" / "lasot_ext"
    config = relo_config.evaluation_from_dict(json.loads((folder / "config.json").read_text()))
    assert (config.eval.checkpoint, config.eval.batch, config.model.variant) == ("b.pth.tar", 3, "b256")
    first = json.loads((folder / "summary.json").read_text())
    config.eval.out = "again"
    by_config.evaluate_by_config(config)
    again = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert again["options"] == first["options"] and set(again["options_from"].values()) == {"given"}
    assert {**again, "options_from": None} == {**first, "options_from": None}
    files = {path.name: path.read_bytes() for path in folder.glob("*.txt")}
    assert files and files == {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.txt")}


def test_failed_sequences_are_counted_and_the_exit_says_so(root, tmp_path, monkeypatch, capsys):
    class Failing(Oracle):
        def run(self, sequences, advance):
            for tracked in super().run(sequences, advance):
                bad = tracked.sequence.name == "bee"
                yield type(tracked)(tracked.sequence, failure="frame 3: gone") if bad else tracked

    monkeypatch.setattr(runner, "Lockstep", Failing)
    with pytest.raises(UserError, match=r"sequences failed or could not be opened \(1 of NFS\)"):
        reproduce.reproduce("b256", "b.pth.tar", root, datasets=["nfs"])
    assert "2 of 100, 1 failed" in capsys.readouterr().out


def test_broken_sequences_lead_to_an_error_too(root, tmp_path):
    shutil.copytree(root, tmp_path / "broken")
    (tmp_path / "broken/NFS/bee/30/bee.txt").write_text("no boxes\n")
    with pytest.raises(UserError, match=r"could not be opened \(1 of NFS\)"):
        reproduce.reproduce("b256", "b.pth.tar", tmp_path / "broken", datasets=["nfs"])


@pytest.mark.parametrize(
    ("variant", "datasets", "message"),
    [
        ("tiny", (), r"no results are published for variant 'tiny' \(known: t256, b256, l256\)"),
        ("t256", (), "b.pth.tar is of variant b256, not t256"),
        ("t256", ("nfs",), r"no result of t256 is published for 'nfs' \(known: lasot, "),
        ("b256", ("lasot", "tnl2k"), "has none of these datasets: lasot, tnl2k"),
    ],
)
def test_a_wrong_variant_or_dataset_is_refused(variant, datasets, message, root, tmp_path):
    with pytest.raises(UserError, match=message):
        reproduce.reproduce(variant, "b.pth.tar", root, datasets=datasets)
    assert not (tmp_path / "results").exists()


def test_no_root_is_one_line(monkeypatch):
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    with pytest.raises(UserError, match="no folder of datasets: give --data-root, or set RELO_DATA_DIR"):
        reproduce.reproduce("b256", "b.pth.tar")
