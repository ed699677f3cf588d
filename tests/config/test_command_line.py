"""Configs from the command line: fields to replace, and mistakes in flags and config files."""

import pytest

from relo_jax import config as relo_config
from relo_jax.commands import main
from relo_jax.config.command_line import read_config
from relo_jax.errors import UserError
from tests import command
from tests.config.configs import TINY, load


def test_the_command_line_changes_single_fields():
    argv = [f"--config={TINY}:rl", "--workdir", "runs/x", "--config.batch_size=4", "--config.model.depth=2"]
    argv += ["--config.rl.drop_path", "--config.optimizer.learning_rate=1", "--config.model.stem_blocks=(2,1)"]
    args = main.parse(["train", *argv])
    assert args.workdir == "runs/x" and not args.distributed
    config = read_config("relo train", args.config, args.fields)
    relo_config.validate(config)
    assert (config.stage, config.batch_size, config.model.depth) == ("rl", 4, 2)
    assert config.rl.drop_path and config.optimizer.learning_rate == 1.0 and config.model.stem_blocks == (2, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("head.*", ("head.*",)),
        ("head.*,mask_token", ("head.*", "mask_token")),
        ("mask_token, cls_token,", ("mask_token", "cls_token")),
        ("('head.*','norm.*')", ("head.*", "norm.*")),
    ],
)
def test_a_field_of_several_values_takes_commas(value, expected):
    assert read_config("relo train", TINY, [f"--config.init_ignore={value}"]).init_ignore == expected


def test_two_command_lines_in_one_process_do_not_mix():
    first = read_config("relo train", TINY, ["--config.batch_size=4"])
    second = read_config("relo train", TINY)
    assert first.batch_size == 4 and second.batch_size == load("tiny").get_config("warmup").batch_size


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([f"--config={TINY}", "--workdir=x", "--config.batchsize=4"], "did you mean 'batch_size'"),
        (
            [f"--config={TINY}", "--workdir=x", "--config.batch_size=four"],
            "config.batch_size is 'four', expected an integer",
        ),
        ([f"--config={TINY}", "--workdir=x", "--config.seed=None"], "config.seed is 'None', expected an integer"),
        ([f"--config={TINY}", "--config.optimizer.learning_rate=fast"], "learning_rate is 'fast', expected a number"),
        ([f"--config={TINY}:warm", "--workdir=x"], "config.stage is 'warm'"),
        (["--config=configs/missing.py", "--workdir=x"], "configs/missing.py does not exist"),
        ([f"--config={TINY}"], "--workdir is missing"),
        (["--workdir=x"], "--config is missing"),
        ([f"--config={TINY}:eval", "--workdir=x"], "relo_tiny.py:eval is of stage 'eval': give NAME:warmup or :rl"),
        ([f"--config={TINY}", "--config.stage=eval", "--print-config"], "config.stage is 'eval', for relo eval"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(argv, message):
    with pytest.raises(UserError) as error:
        command.run("train", *argv)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return relo_config.paper(stag)", "mine.py, line 3: NameError: name 'stag' is not defined"),
        ("return (", "mine.py, line 3: SyntaxError: '(' was never closed"),
        ("import nowhere", "mine.py, line 3: ModuleNotFoundError: No module named 'nowhere'"),
        ("return [][1]", "mine.py, line 3: IndexError: list index out of range"),
        ("return {}['k']", "mine.py, line 3: KeyError: 'k'"),
        ("return 1 + 'a'", "mine.py, line 3: TypeError: unsupported operand"),
        ("raise RuntimeError('one\\ntwo')", "mine.py, line 3: RuntimeError: one"),
        ("assert False", "mine.py, line 3: AssertionError"),
        ("raise relo_config.validation.UserError('config.x is 3: give 2')", "relo train: config.x is 3: give 2"),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line(line, message, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"from relo_jax import config as relo_config\ndef get_config(stage='warmup'):\n    {line}\n")
    with pytest.raises(UserError) as error:
        command.run("train", f"--config={file}", "--workdir=x")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "mine.py has no function get_config(stage)"),
        ("def get_config(stage='rl'):\n    return {}", "mine.py returns a dict, expected a ConfigDict"),
    ],
)
def test_a_file_that_makes_no_config_is_one_line(text, message, tmp_path):
    read_config("relo train", TINY)  # none of its names are in the next file
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        command.run("train", f"--config={file}:rl", "--workdir=x")
    assert message in str(error.value) and "\n" not in str(error.value)
