"""Conversion, the table and the packs of a rehearsal; the commands are only noted here."""

import json
import types

import pytest

from relo_jax.study.rehearsal import results
from relo_jax.study.rehearsal.plan import Plan
from relo_jax.study.rehearsal.processes import StepFailed

NAMES = [f"GOT-10k_Test_{number:06d}" for number in range(1, 181)]
REFUSED = "a.zip was not written: 178 files of GOT-10k's test split missing or wrong"


class Commands:
    """Notes commands; the n-th fails with the n-th reason, or writes its --out if that is None."""

    def __init__(self, *reasons):
        self.reasons, self.ran = list(reasons), []

    def __call__(self, argv):
        self.ran.append(list(argv))
        if (reason := self.reasons.pop(0)) is not None:
            raise StepFailed(reason)
        argv[argv.index("--out") + 1].touch()


@pytest.fixture
def tracked(tmp_path):
    """Results of the second and third sequence of GOT-10k's test split."""
    folder = tmp_path / "results"
    folder.mkdir()
    for name in NAMES[1:3]:
        for ending in (".txt", "_score.txt", "_time.txt"):
            (folder / f"{name}{ending}").write_text(f"{name}{ending}")
    return folder


def test_a_pack_is_refused_first_and_then_filled_with_copies(tracked, tmp_path):
    run = Commands(REFUSED, None)
    remark = results.pack("got10k", tracked, tmp_path / "data", tmp_path / "pack", run)
    assert remark == "2 of 180 sequences refused, 180 packed (copies of those)"
    assert [argv[2] for argv in run.ran] == [tracked, tmp_path / "pack" / "got10k"]
    assert all(argv[-1] == tmp_path / "data" for argv in run.ran), "the tracked ones are checked against their frames"
    files = {path.name: path.read_text() for path in (tmp_path / "pack" / "got10k").iterdir()}
    assert len(files) == 3 * 180
    assert files[f"{NAMES[1]}_time.txt"] == f"{NAMES[1]}_time.txt" and files[f"{NAMES[2]}.txt"] == f"{NAMES[2]}.txt"
    assert files[f"{NAMES[0]}.txt"] == f"{NAMES[1]}.txt" and files[f"{NAMES[7]}.txt"] == f"{NAMES[2]}.txt"


def test_a_pack_that_should_be_refused_and_another_refusal_fail(tracked, tmp_path):
    with pytest.raises(StepFailed, match="with 2 of 180 sequences was not refused"):
        results.pack("got10k", tracked, tmp_path, tmp_path / "a", Commands(None))
    with pytest.raises(StepFailed, match="no such folder"):
        results.pack("got10k", tracked, tmp_path, tmp_path / "b", Commands("no such folder"))
    with pytest.raises(StepFailed, match="179 files"):
        results.pack("got10k", tracked, tmp_path, tmp_path / "c", Commands(REFUSED.replace("178", "179")))
    with pytest.raises(StepFailed, match="has no result of TrackingNet's test split"):
        results.pack("trackingnet", tracked, tmp_path, tmp_path / "d", Commands())


def test_a_table_without_a_benchmark_fails_and_unpublished_ones_are_evaluated(tmp_path):
    plan = types.SimpleNamespace(variant="t256")
    rows = {name: {"state": "measured"} for name in ("lasot", "lasot_ext", "trackingnet", "got10k")}
    ran = []

    def reproduced(argv):
        ran.append(argv)
        (tmp_path / "reproduce.json").write_text(json.dumps({"datasets": rows}))

    remark = results.reproduce(plan, tmp_path / "run", tmp_path / "data", tmp_path, ["--batch", 1], reproduced)
    assert remark.startswith("4 benchmarks beside the paper's")
    assert [argv[0] for argv in ran] == ["reproduce", "eval", "eval", "eval"]
    assert [argv[4] for argv in ran[1:]] == ["tnl2k", "nfs", "uav123"] and all(argv[-1] == 1 for argv in ran)
    rows["got10k"] = {"state": "absent"}
    with pytest.raises(StepFailed, match="has no result of got10k"):
        results.reproduce(plan, tmp_path / "run", tmp_path / "data", tmp_path, [], reproduced)


def test_the_speed_is_that_of_all_frames_together(tmp_path):
    for name, frames, speed in (("a", 10, 1.0), ("b", 90, 9.0), ("c", 50, None)):
        (tmp_path / name).mkdir()
        summary = {"sequences": {"s": {"frames": frames}}, "frames_per_second": speed}
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
    assert results.speed_in(tmp_path) == pytest.approx(100 / (10 + 10)) and results.frames_in(tmp_path) == 150


def test_a_network_with_other_fields_is_converted_by_its_variant_and_fields(tmp_path):
    plan = Plan("b256", tmp_path, tmp_path, fields=("--config.model.width=16", "--config.seed=3"))
    assert results.convert_command(plan, "a.pt", "b") == [
        "convert", "a.pt", "b", "--variant", "b256", "--set", "width=16",
    ]  # fmt: skip
    assert results.convert_command(Plan("b256", tmp_path, tmp_path), "a.pt", "b") == ["convert", "a.pt", "b"]
