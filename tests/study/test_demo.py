"""The demo, both stages of it, with a model and budgets that take seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import jax
import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.eval.metrics import NEVER_MOVES
from relo_jax.eval.report.demo_page import TRAINING
from relo_jax.study import demo, held_out
from relo_jax.train import initialise, loop
from relo_jax.train.checkpoints import opened
from relo_jax.train.mesh import make_mesh
from relo_jax.train.state import variables_of
from tests import compiler

ROOT = Path(__file__).parents[2]
SMALL = dict(width=32, depth=1, heads=2, head_width=16, search_size=64, template_size=32, remat=False)


def shrink(replace):
    """Shrinks the demo to seconds; `replace` is `setattr` or pytest's."""
    recipe = relo_config.starter

    def small(stage):
        config = recipe(stage)
        config.model.update(SMALL)
        config.batch_size = 8  # the tests have eight devices
        config.optimizer.warmup_steps = 0
        config.data.procedural.bank_size = 32
        return config

    replace(relo_config, "starter", small)
    budget = {"SEQUENCES": 3, "FRAMES": 7, "RL_STEPS": {False: 3, True: 3}, "WARMUP_STEPS": 2}
    budget |= {"EVALUATIONS": 1, "EVAL_BATCHES": 1}
    for name, value in {**budget, "CALIBRATION_SEQUENCES": 3, "CALIBRATION_FRAMES": 5}.items():
        replace(demo, name, value)


def run_twice(workdir):
    """Runs the same demo twice and keeps both results."""
    shrink(setattr)
    first = demo.run(workdir, seed=3, full=True)
    log = (workdir / "metrics.jsonl").read_text()
    (workdir / demo.PAGE_FILE).unlink()
    second = demo.run(workdir, seed=3, full=True, relo="see_it relo")
    (workdir / "twice.json").write_text(json.dumps([first, second, log]))


@pytest.fixture
def small(monkeypatch):
    shrink(monkeypatch.setattr)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Directory and output of a demo, in a process with one device that compiles without optimisation."""
    workdir = tmp_path_factory.mktemp("demo") / "full"
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_backend_optimization_level=0 {compiler.FLAGS}",
        "JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    code = "import pathlib, sys; from tests.study import test_demo; test_demo.run_twice(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(workdir)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_it_writes_what_it_promises(finished):
    workdir, out = finished
    result = json.loads((workdir / demo.RESULT_FILE).read_text())
    assert list(result["scores"]) == [demo.BEFORE, demo.AFTER, NEVER_MOVES]
    assert (
        0 < result["processor_seconds"]
        and result["sequences"] == 3
        and result["rl_clips"] == 24
        and "--full --seed 3" in result["command"]
    )
    assert out.startswith("RELO demo: both training stages, from random weights") and "minutes" in out.splitlines()[1]
    assert demo.table(result["scores"]) in out
    assert "the score stays uncalibrated: " in out and "at least 30 of each" in out
    page = (workdir / demo.PAGE_FILE).read_text()
    for row in result["scores"].values():
        assert f"{row['auc']:.3f}" in page
    assert f'src="{demo.VIDEO_FILE}"' in page
    for name in ("success.png", "precision.png", f"{TRAINING}.png"):
        assert (workdir / name).read_bytes().startswith(b"\x89PNG")
    with av.open(str(workdir / demo.VIDEO_FILE)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 7
    left, right = frames[3][:, : frames[3].shape[1] // 2 - 2], frames[3][:, frames[3].shape[1] // 2 + 2 :]
    assert left.shape == right.shape and (abs(left.astype(int) - right) > 40).any()  # one policy each
    assert "see_it relo track --example --checkpoint" in out


def test_training_began_with_the_policy_before_and_changed_only_the_heads(finished, tmp_path):
    workdir, _ = finished
    config = relo_config.from_dict(run_directory.read_config(workdir))
    before = demo.policy_before(config)
    mesh = make_mesh(config)
    with jax.set_mesh(mesh), opened(tmp_path, relo_config.to_dict(config), 1) as manager:
        state, _ = initialise.first_state(config, before.model, mesh, manager)
    began = variables_of(state)["params"]
    jax.tree.map(np.testing.assert_array_equal, before.variables["params"], began)
    warmup, after = (checkpoint.load(path).variables["params"] for path in (workdir / "warmup", workdir))
    for module in ("encoder", "regression"):
        for tree in (began, after):
            jax.tree.map(np.testing.assert_array_equal, warmup[module], tree[module])
    for module in ("policy", "value"):
        leaves = jax.tree.leaves(began[module]), jax.tree.leaves(after[module])
        assert any(np.any(a != b) for a, b in zip(*leaves, strict=True))


def test_the_same_command_again_repeats_no_training_and_gives_the_same_scores(finished):
    workdir, _ = finished
    first, second, log = json.loads((workdir / "twice.json").read_text())
    assert second["scores"] == first["scores"]
    assert (workdir / "metrics.jsonl").read_text() == log and len(log.splitlines()) > 3
    assert (workdir / demo.PAGE_FILE).is_file()


def test_another_seed_does_not_continue_this_run(finished, small):
    workdir, _ = finished
    with pytest.raises(UserError, match="seed"):
        demo.run(workdir, seed=4, full=True)


def test_an_interrupted_stage_is_not_mistaken_for_a_finished_one(small, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_train", lambda trainings: [])
    with pytest.raises(UserError, match="same command continues"):
        demo.run(tmp_path / "stopped", full=True)


def test_training_does_not_use_the_sequences_of_the_evaluation(small):
    config = demo.stage_config("rl", 0, 1)
    names = {sequence.name for sequence in held_out.held_out_sequences(demo.SEQUENCES, demo.FRAMES)}
    assert len(names) == 3 and all(f"heldout-{held_out.SEED}-" in name for name in names)
    for train in (True, False):
        assert pipeline.sequences("procedural", config.data, train).seed != held_out.SEED
