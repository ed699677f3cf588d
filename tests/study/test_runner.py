"""`relo study`: it writes its results, continues where it was killed, and reports a mistake in one line."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.errors import UserError
from relo_jax.eval.runner import SUMMARY_FILE
from relo_jax.model import RELO
from relo_jax.study import arm, figure, outcome, runner, studies
from tests import command, compiler
from tests.study import tiny

ROOT = Path(__file__).parents[2]
CODE = """
import pathlib, sys
from relo_jax.study import arm
from tests.study import tiny
folder = pathlib.Path(sys.argv[1])
tiny.install(setattr, folder / "start")
tiny.write_start(folder / "start")
train, killed = arm.train_to_end, False

def train_until_the_second_arm(*trainings):
    global killed
    ((_, workdir),) = trainings
    print("begins", workdir.relative_to(folder / "work" / "arms"))
    if "far" in str(workdir) and not killed:
        killed = True
        raise KeyboardInterrupt
    train(*trainings)

arm.train_to_end = train_until_the_second_arm
try:
    tiny.run(folder / "work")
except KeyboardInterrupt:
    print("killed; there is", sorted(p.name for p in (folder / "work").iterdir()))
tiny.run(folder / "work")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder and output of a study that was killed before its second arm and continued, in a process with one device
    that compiles without optimisation."""
    folder = tmp_path_factory.mktemp("study")
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_backend_optimization_level=0 {compiler.FLAGS}",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE, folder], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "work", done.stdout


def test_a_killed_study_continues_and_trains_nothing_twice(finished):
    _, out = finished
    lines = out.splitlines()
    assert "killed; there is ['arms']" in lines
    before, after = lines[: (at := lines.index("killed; there is ['arms']"))], lines[at:]
    trained = [line.removeprefix("begins ") for line in before if line.startswith("begins ")]
    assert trained == ["near/seed-0/rl", "far/seed-0/rl"]
    trained = [line.removeprefix("begins ") for line in after if line.startswith("begins ")]
    assert trained == ["far/seed-0/rl"]
    for number, name in enumerate(("near", "far"), start=1):
        assert any(line.startswith(f"[{number} of 2] {name}, seed 0 (00:0") for line in after)


def test_it_prints_and_writes_its_table_numbers_and_a_picture(finished):
    workdir, out = finished
    folder = workdir / tiny.NAME
    found = json.loads((folder / runner.RESULT_FILE).read_text())
    text = (folder / runner.TABLE_FILE).read_text()
    assert outcome.table(tiny.NAME, tiny.STUDY, found, tiny.SCALE) in out
    assert text.startswith(f"# {tiny.NAME}\n\nNear or far?\n") and "multiplied by 0.02" in text and "One seed" in text
    assert f"`relo study {tiny.NAME} --seeds 1" in text and "--sequences 2 --scale 0.02" in found["command"]
    assert (folder / figure.CURVES_FILE).read_bytes().startswith(b"\x89PNG")
    # Each step has 4 clips of 2 frames.
    assert [(step, frames) for step, frames, _ in found["curves"]["far"][0]] == [(1, 8), (2, 16)]


def test_its_numbers_are_those_of_the_evaluations(finished):
    workdir, _ = finished
    found = json.loads((workdir / tiny.NAME / runner.RESULT_FILE).read_text())["evaluations"]["held-out"]
    each = {}
    for name, row in found.items():
        summary = json.loads((workdir / "arms" / name / "seed-0/evaluation/held-out" / SUMMARY_FILE).read_text())
        each[name] = np.array([one["auc"] for one in summary["sequences"].values()])
        assert len(each[name]) == row["sequences"] == tiny.SEQUENCES
        np.testing.assert_allclose(row["auc"], summary["mean"]["auc"])
        np.testing.assert_allclose(row["seeds"], [each[name].mean()])
        np.testing.assert_allclose([row["low"], row["high"]], [each[name].min(), each[name].max()])  # of two sequences
    less = each["far"] - each["near"]
    np.testing.assert_allclose(found["far"]["difference"]["mean"], less.mean(), atol=1e-12)
    assert "difference" not in found["near"]


def test_a_study_may_have_more_sets_of_drawn_sequences(finished):
    workdir, _ = finished
    found = json.loads((workdir / tiny.NAME / runner.RESULT_FILE).read_text())
    assert list(found["evaluations"]) == ["held-out", "slow"]
    assert found["never_moves"]["held-out"] < found["never_moves"]["slow"]


def test_another_recipe_is_refused_with_what_to_do(finished, tmp_path, monkeypatch):
    workdir, _ = finished
    tiny.install(monkeypatch.setattr, workdir.parent / "start")
    with pytest.raises(UserError, match=r"total_steps=2.*remove .*near/seed-0 to train it again") as error:
        arm.train("near", 0, 0.05, workdir)
    assert "\n" not in str(error.value)


def test_it_records_the_weights_it_began_with(finished):
    workdir, _ = finished
    found = json.loads((workdir / tiny.NAME / runner.RESULT_FILE).read_text())
    assert {arm: start["name"] for arm, start in found["began_with"].items()} == {"near": "start", "far": "start"}
    assert set(found["code"]) == {"revision", "changed"}


def test_other_weights_of_the_same_name_are_refused_with_what_to_do(tmp_path, monkeypatch):
    start = tmp_path / "weights.msgpack"
    start.write_bytes(b"new")
    tiny.install(monkeypatch.setattr, start)
    where = arm.folder_of(tmp_path / "work", "near", 0) / "rl"
    (where / "checkpoints" / "2").mkdir(parents=True)
    ((config, _),) = studies.stages("near", 0, tiny.SCALE, where.parent)
    model = RELO.from_variant("tiny", **tiny.MODEL)
    run_directory.write_config(where, {**relo_config.to_dict(config), "model": model.config.to_dict()})
    for weights in (b"new", b"old"):
        parent = {"kind": "file", "name": "weights.msgpack", "sha256": hashlib.sha256(weights).hexdigest()}
        model_card.write(where, {"kind": "trained", "parent": parent, "sessions": []})
        if weights == b"new":
            arm.checked_stages("near", 0, tiny.SCALE, tmp_path / "work")
    with pytest.raises(UserError, match=r"other weights named .*weights.msgpack .*remove .*near/seed-0 to"):
        arm.checked_stages("near", 0, tiny.SCALE, tmp_path / "work")


def test_a_study_may_be_moved_between_its_sessions(tmp_path):
    for config, where in studies.stages("with_warmup", 0, 1.0, arm.folder_of(tmp_path, "with_warmup", 0)):
        model = RELO.from_config(config.model)
        (where / "checkpoints" / str(config.total_steps)).mkdir(parents=True)
        run_directory.write_config(where, {**relo_config.to_dict(config), "model": model.config.to_dict()})
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "arms").rename(moved / "arms")
    assert [where.name for _, where in arm.checked_stages("with_warmup", 0, 1.0, moved)] == ["warmup", "rl"]
    with pytest.raises(UserError, match="the study or --scale has changed since"):
        arm.checked_stages("with_warmup", 0, 0.5, moved)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": 0}, "--seeds is 0"),
        ({"scale": 0.0}, "--scale"),
        ({"scale": np.nan}, "--scale"),
        ({"sequences": 0}, "--sequences is 0"),
    ],
)
def test_bad_numbers_are_refused(fields, message, tmp_path, monkeypatch):
    tiny.install(monkeypatch.setattr, tmp_path)
    with pytest.raises(UserError, match=message):
        tiny.run(tmp_path / "work", **fields)


@pytest.mark.parametrize(("flags", "expected"), [((), runner.SEQUENCES), (("--sequences", "200"), 200)])
def test_the_command_passes_its_arguments_on(flags, expected, monkeypatch):
    seen = []
    monkeypatch.setattr(runner, "run_study", lambda *args, **more: seen.append((args, more)))
    command.run("study", "estimator", "--seeds=2", "--workdir=here", "--data-root=there", "--scale=0.5", *flags)
    assert seen == [(("estimator", 2, Path("here"), "there", 0.5, False), {"sequences": expected})]


def test_a_study_killed_in_its_first_save_continues(tmp_path):
    unfinished = tmp_path / "arms/reward/seed-0/rl/checkpoints/8.orbax-checkpoint-tmp"
    unfinished.mkdir(parents=True)
    ((_, where),) = arm.checked_stages("reward", 0, 1.0, tmp_path)
    assert where == unfinished.parents[1]


def test_a_folder_with_the_name_of_the_procedural_sequences_is_refused(tmp_path, monkeypatch):
    tiny.install(monkeypatch.setattr, tmp_path)
    monkeypatch.setattr(runner, "open_benchmark", lambda name, root: tiny.held_out(1, 2, "held-out", {}))
    with pytest.raises(UserError, match="--data-root here/held-out: this is also the name of the procedural sequences"):
        tiny.run(tmp_path / "work", data_root="here/held-out")


def test_an_unknown_study_gets_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'estimator'"):
        runner.run_study("estimators")


def test_a_run_killed_while_an_old_checkpoint_was_removed_is_not_finished(tmp_path):
    config = SimpleNamespace(total_steps=4, keep_checkpoints=1)
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "split": "eval"}\n{"step": 5, "spl')
    assert arm.is_finished(config, tmp_path)
    (tmp_path / "checkpoints" / "2").mkdir()
    assert not arm.is_finished(config, tmp_path)


def test_outside_of_a_checkout_the_table_of_arms_is_that_of_the_package(monkeypatch, tmp_path):
    here = studies.stages("reward", 0, 1.0, tmp_path)
    monkeypatch.chdir(tmp_path)
    elsewhere = studies.stages("reward", 0, 1.0, tmp_path)
    assert [config.to_dict() for config, _ in elsewhere] == [config.to_dict() for config, _ in here]


def test_stages_follow_each_other_with_one_seed_and_fewer_steps(tmp_path):
    (warmup, first), (rl, second) = studies.stages("with_warmup", 7, 0.02, tmp_path / "here")
    assert (first, second) == (tmp_path / "here/warmup", tmp_path / "here/rl")
    assert (warmup.init_from, rl.init_from) == ("", str(first))
    assert {section.seed for section in (warmup, warmup.data, rl, rl.data)} == {7}
    assert (warmup.total_steps, warmup.optimizer.warmup_steps, warmup.eval_every) == (8, 1, 1)
    assert (rl.total_steps, rl.optimizer.warmup_steps) == (2, 0)


def finish(config, where, step=None):
    """What `arm` looks for in the directory of a finished run, or of one that was killed after a step."""
    model = RELO.from_config(config.model)
    (where / "checkpoints" / str(step or config.total_steps)).mkdir(parents=True)
    run_directory.write_config(where, {**relo_config.to_dict(config), "model": model.config.to_dict()})
    (where / "metrics.jsonl").write_text(json.dumps({"step": step or config.total_steps, "split": "eval"}) + "\n")


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_shares_its_encoder_trains_as_one_program(one_by_one, tmp_path, monkeypatch, capsys):
    trained = []

    def train(*trainings):
        trained.append([str(where.parent.relative_to(tmp_path / "arms")) for _, where in trainings])
        for config, where in trainings:
            shutil.rmtree(where, ignore_errors=True)
            finish(config, where)

    monkeypatch.setattr(arm, "train_to_end", train)
    monkeypatch.setattr(arm, "evaluate", lambda *_: run_of([0.5]))
    for name, seed, step in (("expected", 0, None), ("rloo", 1, 16), ("expected", 1, 16)):
        ((config, where),) = arm.checked_stages(name, seed, 1.0, tmp_path)
        finish(config, where, step)
    study = studies.Study("?", ("reward", "heatmap_head", "closed_loop", "rloo", "expected"))
    runs = runner.run_all(study, 2, 1.0, [], tmp_path, one_by_one)
    assert all(len(of_arm) == 2 for of_arm in runs.values())
    fresh = [f"{name}/seed-{seed}" for seed in (0, 1) for name in study.arms]
    fresh = [name for name in fresh if name not in ("expected/seed-0", "rloo/seed-1", "expected/seed-1")]
    continued = ["rloo/seed-1", "expected/seed-1"]
    if one_by_one:
        assert trained == [[name] for name in [*fresh, *continued]]
    else:
        joined = [name for name in fresh if "closed_loop" not in name]
        assert trained == [joined, ["closed_loop/seed-0"], ["closed_loop/seed-1"], continued]
        out = capsys.readouterr().out
        assert "trains as one program: rloo (seed 1), expected (seed 1)\n" in out
        assert "trains as one program: reward (seed 0, 1), heatmap_head (seed 0, 1), rloo (seed 0)\n" in out
        assert "trains alone\n[4 of 10]" in out


def run_of(values, curve=()):
    return arm.Run({"held-out": {f"s{k}": value for k, value in enumerate(values)}}, {"held-out": 0.1}, list(curve))


def test_arms_are_compared_seed_by_seed():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=(3, 20)) + np.array([[0.0], [0.3], [0.6]])
    study = studies.Study("?", ("a", "b"))
    runs = {"a": [run_of(row) for row in first], "b": [run_of(row + 0.01) for row in first]}
    rows = outcome.summary(study, runs)["evaluations"]["held-out"]
    assert rows["b"]["high"] - rows["b"]["low"] > 0.3  # seeds differ
    less = rows["b"]["difference"]
    np.testing.assert_allclose([less["mean"], less["low"], less["high"], *less["seeds"]], 0.01)
    text = outcome.table("study", study, outcome.summary(study, runs), 1.0)
    assert "| +0.010 | +0.010 to +0.010 | 3 of 3 |" in text
    assert "factor of about 0.82" in text and "multiplied" not in text


def test_steps_to_a_share_of_the_final_auc_of_the_first_arm():
    slow = [(10, 100, 0.30), (20, 200, 0.46), (30, 300, 0.50)]
    fast = [(10, 100, 0.48), (20, 200, 0.499), (30, 300, 0.47)]
    never = [(10, 100, 0.1), (20, 200, 0.2), (30, 300, 0.3)]
    found = outcome.steps_to({"slow": [slow], "fast": [fast], "never": [never]}, "slow")
    assert found == {
        "0.9": {"slow": [20], "fast": [10], "never": [None]},
        "0.95": {"slow": [30], "fast": [10], "never": [None]},
        "0.99": {"slow": [30], "fast": [20], "never": [None]},
    }
