"""`relo rehearse`, from made-up weights to the packs; a warm-up is really killed.

The commands whose process matters (the warm-up's) run in one, the others in the test's own.
"""

import contextlib
import json
import zipfile

import jax
import pytest

from relo_jax.errors import UserError
from relo_jax.study.rehearsal import processes, runner, training
from relo_jax.study.rehearsal.plan import make_plan
from relo_jax.train import loop
from tests import command, compiler
from tests.study.rehearsal.small import FIELDS
from tests.train.runs import caching_in, one_device

BENCHMARKS = ["lasot", "lasot_ext", "trackingnet", "got10k", "tnl2k", "nfs", "uav123"]


def run_here(argv, folder, log):
    """`processes.relo` in this process, on one device."""
    with open(log, "a") as output, contextlib.redirect_stdout(output), contextlib.chdir(folder):
        try:
            status = command.run(*argv)
        except UserError as error:
            raise processes.StepFailed(str(error)) from None
    assert not status
    return log.read_text()


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """The workdir of a rehearsal of a very small B256, and what it printed."""
    workdir, printed = tmp_path_factory.mktemp("rehearsal"), tmp_path_factory.mktemp("out") / "printed.txt"
    in_a_process = processes.relo
    with pytest.MonkeyPatch.context() as patch, caching_in(workdir.with_name("compiled")):
        patch.setenv("XLA_FLAGS", compiler.FLAGS)  # one device in the processes, as here
        patch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setattr(loop, "make_mesh", one_device)
        is_warmup = lambda argv: argv[0] == "train" and str(argv[2]).endswith(":warmup")
        patch.setattr(
            processes, "relo", lambda argv, *rest: (in_a_process if is_warmup(argv) else run_here)(argv, *rest)
        )
        with open(printed, "w") as output, contextlib.redirect_stdout(output):
            runner.rehearse(make_plan("b256", workdir, batch_size=2, fields=FIELDS))
    return workdir, printed.read_text()


@pytest.fixture(scope="module")
def content(rehearsed):
    return json.loads((rehearsed[0] / runner.JSON_FILE).read_text())


def test_every_step_goes_well_and_has_a_line(rehearsed, content):
    lines = [line for line in rehearsed[1].splitlines() if line.startswith("[")]
    assert [step["state"] for step in content["steps"]] == ["ok"] * 13
    for line, step in zip(lines, content["steps"], strict=True):
        assert (
            line.split("] ")[1].startswith(step["name"]) and line.endswith(f" s  {step['remark']}") and " ok " in line
        )


def test_the_warm_up_is_killed_and_continues_with_the_same_numbers(rehearsed, content):
    workdir = rehearsed[0]
    before = training.rows_of(workdir / training.BEFORE_FILE)
    after = training.rows_of(workdir / "warmup" / "metrics.jsonl")
    assert 2 < len(before) < len(after) == 6, "killed after checkpoint 2, before the end"
    assert "step 6, held-out" not in (workdir / "logs" / "warmup.log").read_text()
    drop = lambda row: {name: value for name, value in row.items() if name != training.SPEED}
    assert [drop(row) for row in before] == [drop(row) for row in after[: len(before)]]
    remarks = {step["name"]: step["remark"] for step in content["steps"]}
    assert "repeated with the same numbers" in remarks["warm-up, continued"]


def test_both_stages_train_the_real_recipe_from_the_weights_before_them(rehearsed):
    workdir = rehearsed[0]
    warmup, rl = (json.loads((workdir / stage / "config.json").read_text()) for stage in ("warmup", "rl"))
    assert warmup["init_from"].endswith("fast_itpn.pt") and rl["init_from"] == str(workdir / "warmup")
    assert warmup["data"]["name"] == rl["data"]["name"] == "coco+got10k+lasot+trackingnet+vasttrack"
    assert (warmup["warmup"]["search_frames"], warmup["optimizer"]["clip_norm"]) == (2, 0.1)
    assert warmup["batch_size"] == 2
    assert (warmup["total_steps"], rl["total_steps"], rl["batch_size"]) == (6, 3, 1)


def test_all_seven_benchmarks_are_in_the_table(rehearsed):
    found = json.loads((rehearsed[0] / "results" / "released" / "reproduce.json").read_text())["datasets"]
    assert {name: row["state"] in ("measured", "server") for name, row in found.items()} == dict.fromkeys(
        BENCHMARKS, True
    )


def test_the_packs_have_every_sequence_of_the_official_lists(rehearsed):
    for server, count in (("got10k", 360), ("trackingnet", 511)):
        with zipfile.ZipFile(rehearsed[0] / "packs" / server / f"{server}.zip") as archive:
            assert len(archive.namelist()) == count


def test_the_page_has_the_steps_the_forecast_and_the_commands(rehearsed, content):
    page = (rehearsed[0] / runner.PAGE_FILE).read_text()
    assert "| warm-up, killed | ok |" in page and "140,625 steps of 64 clips of 2 frames" in page
    row = content["forecast"]["time"][0]
    assert row["seconds"] == pytest.approx(9_000_000 / min(content["rates"]["warmup"], content["rates"]["loader"]))
    assert content["forecast"]["disk"][2]["bytes"] == 4 * training.checkpoint_bytes(rehearsed[0] / "warmup") > 0
    commands = [text for step in content["steps"] for text in step["commands"]]
    assert all(text in page for text in commands)
    words = [text.split()[1] for text in commands]
    assert words == ["profile", *["train"] * 3, "convert", "eval", "reproduce", *["pack"] * 4]


def fails(*args):
    raise processes.StepFailed("no disk")


def test_a_failed_step_stops_only_those_that_need_it(tmp_path, monkeypatch, capsys):
    plan = make_plan("b256", tmp_path / "run", fields=FIELDS)
    for name in ("relo", "kill_when"):
        monkeypatch.setattr(processes, name, fails)
    monkeypatch.setattr(runner.Rehearsal, "_devices", lambda self: self.clips.update(warmup=2, rl=2) or "1 x none")
    with pytest.raises(UserError, match="9 of 13 steps failed or were not run, the first: loader: no disk"):
        runner.rehearse(plan)
    steps = json.loads((plan.workdir / runner.JSON_FILE).read_text())["steps"]
    states = {step["name"]: (step["state"], step["remark"]) for step in steps}
    assert states["data check"][0] == states["weights"][0] == "ok"
    assert states["convert"] == ("failed", "no disk"), "it needs no training"
    assert states["RL stage"] == ("not run", "it needs: warm-up, continued")
    printed = capsys.readouterr().out
    assert "its step failed" in printed and "not run" in (plan.workdir / runner.PAGE_FILE).read_text()


def test_a_bug_in_a_step_is_one_line_and_the_others_run(tmp_path, monkeypatch):
    rehearsal = runner.Rehearsal(make_plan("b256", tmp_path / "run", fields=FIELDS))
    steps = [("one", (), lambda: {}["rows"]), ("two", ("one",), lambda: "ran"), ("three", (), lambda: "ran")]
    monkeypatch.setattr(rehearsal, "steps", lambda: steps)
    rehearsal.run()
    one, two, three = rehearsal.done.values()
    assert (one.state, two.state, three.state) == ("failed", "not run", "ok")
    log = rehearsal.plan.workdir / "logs" / "one_error.log"
    assert one.remark.startswith("KeyError: 'rows'") and str(log) in one.remark
    assert "Traceback" in log.read_text()
