"""`relo train --print-config`: the config that a run would be trained with."""

import json

import pytest

from relo_jax.errors import UserError
from relo_jax.train import run
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
    config = json.loads(printed)
    assert (config["stage"], config["batch_size"], config["model"]["depth"]) == ("rl", 8, 2)
    assert config["model"]["width"] == 128  # the variant's


def test_a_config_with_a_mistake_is_not_printed(capsys):
    with pytest.raises(UserError, match="config.rl.samples is 1"):
        command.run(
            "train", "--config", TINY + ":rl", "--print-config", "--config.rl.estimator=rloo", "--config.rl.samples=1"
        )
    assert not capsys.readouterr().out
