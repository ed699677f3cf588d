"""`relo train`: the config that it prints, and what it says and returns at the end."""

import json
from types import SimpleNamespace

import pytest

from relo_jax.errors import UserError
from relo_jax.train import loop, run, watch
from tests import command
from tests.config.configs import TINY


def test_the_printed_config_is_the_one_that_a_run_writes(tmp_path, monkeypatch, capsys):
    argv = ["train", "--config", f"{TINY}:rl", "--config.batch_size=8", "--config.model.depth=2"]
    command.run(*argv, "--print-config")
    printed = capsys.readouterr().out

    def stop(*args):
        raise UserError("before the first step")

    monkeypatch.setattr(run, "first_state", stop)
    with pytest.raises(UserError, match="before the first step"):
        command.run(*argv, "--workdir", tmp_path / "run")
    assert printed == (tmp_path / "run" / "config.json").read_text() + "\n"
    with pytest.raises(UserError, match="has its stage already: leave :rl out"):
        command.run("train", "--config", f"{tmp_path}/run/config.json:rl")
    config = json.loads(printed)
    assert (config["stage"], config["batch_size"], config["model"]["depth"]) == ("rl", 8, 2)
    assert config["model"]["width"] == 128  # the variant's


def test_a_config_with_a_mistake_is_not_printed(capsys):
    with pytest.raises(UserError, match="config.rl.samples is 1"):
        command.run(
            "train", "--config", TINY + ":rl", "--print-config", "--config.rl.estimator=rloo", "--config.rl.samples=1"
        )
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "following"),
    [
        (f"{TINY}:warmup", f"train --config {TINY}:rl --workdir NEW_DIR --config.init_from=runs/x"),
        (TINY, f"train --config {TINY}:rl --workdir NEW_DIR --config.init_from=runs/x"),
        ("b256:warmup_release", "train --config b256:rl_release --workdir NEW_DIR --config.init_from=runs/x"),
        ("ablations:heatmap", "now: the RL stage, with --config.init_from=runs/x"),
        (f"{TINY}:rl", "track VIDEO --box x,y,w,h --checkpoint runs/x"),
    ],
)
def test_it_says_what_comes_next_or_that_the_run_is_not_finished(config, following, monkeypatch, capsys):
    monkeypatch.setattr(loop, "train_and_evaluate", lambda *_: SimpleNamespace(stopped=is_stopped))
    argv = ["train", "--config", config, "--workdir", "runs/x", "--config.total_steps=30"]
    is_stopped = False
    assert command.run(*argv) is None
    said = capsys.readouterr().out
    assert said.startswith("runs/x is trained, 30 steps; now: ") and said.endswith(f" {following}\n")
    is_stopped = True
    assert command.run(*argv) == watch.UNFINISHED and not capsys.readouterr().out
