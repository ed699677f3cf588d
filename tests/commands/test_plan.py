"""`relo plan`: the command line."""

import json

import pytest

from relo_jax.commands import main as cli
from relo_jax.profiling import plan

CONFIG = "--config=configs/relo_t256.py:rl"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([CONFIG], "--topology is missing"),
        (["--topology=h100"], "--config is missing"),
        ([CONFIG, "--topology=h200"], "there is no chip 'h200' (did you mean 'h100'?)"),
        ([CONFIG, "--topology=h100", "--kernels=-1"], "--kernels is -1"),
        ([CONFIG, "--topology=h100", "--config.batchsize=3"], "batchsize"),
    ],
)
def test_a_mistake_is_one_line(argv, words, capsys):
    assert cli.main(["plan", *argv]) == 1
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


@pytest.mark.parametrize(("flags", "name"), [([], "training"), (["--track"], "tracking")])
def test_it_prints_a_table_or_json(flags, name, monkeypatch, capsys):
    given = []
    row = lambda config, target, fast, kernels: given.append((config.batch_size, target.name, fast, kernels)) or [1]
    monkeypatch.setattr(plan, name, row)
    monkeypatch.setattr(plan, f"{name}_table", lambda row: f"table of {row}")
    argv = ["plan", CONFIG, "--topology=v5e:4x4", "--config.batch_size=32", "--fast", "--kernels=5", *flags]
    assert cli.main(argv) == 0 and capsys.readouterr().out == "table of [1]\n"
    assert cli.main([*argv, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed in ([1], {"tracking": [1]}) and given == [(32, "v5e:4x4", True, 5)] * 2
