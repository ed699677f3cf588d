"""Old names of fields are read wherever users have them, and the new name is printed once."""

import json
import re
import shutil
from pathlib import Path

import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.config import renamed
from relo_jax.config.command_line import read_config
from relo_jax.errors import UserError
from relo_jax.eval.results.write import ResultFolder
from tests.config.configs import TINY

STARTERS = Path(checkpoint.__file__).parent / "starter"
VALUE = 0.375


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch):
    monkeypatch.setattr(renamed, "_reported", set())


def with_value(name):
    """A nested dict with one field."""
    *sections, last = name.split(".")
    values = {last: VALUE}
    for section in reversed(sections):
        values = {section: values}
    return values


@pytest.mark.parametrize(("old", "new"), renamed.RENAMED.items())
def test_a_config_under_the_old_name_is_read(old, new, capsys):
    config = relo_config.from_dict(with_value(old), "runs/a/config.json")
    assert relo_config.flatten(config)[new] == VALUE
    line = f"runs/a/config.json: the field {old} is now called {new}\n"
    assert capsys.readouterr().err == line
    relo_config.from_dict(with_value(old), "runs/b/config.json")
    assert capsys.readouterr().err == ""  # once


@pytest.mark.parametrize(("old", "new"), renamed.RENAMED.items())
def test_a_flag_under_the_old_name_sets_the_field(old, new, capsys):
    config = read_config("relo train", TINY, [f"--config.{old}={VALUE}"])
    assert relo_config.flatten(config)[new] == VALUE
    assert capsys.readouterr().err == f"--config.{old}: the field {old} is now called {new}\n"


def test_a_run_with_a_removed_field_continues(capsys):
    old = relo_config.to_dict(relo_config.base())
    for value, line in ((1, ""), (2, "a/config.json: the field mesh.model is ignored: .*config.mesh.frames shares")):
        saved = {**old, "mesh": {"data": 4, "model": value, "shard_params": "none"}}
        relo_config.check_same_run(saved, relo_config.to_dict(relo_config.base()), "a/config.json", step=9)
        assert relo_config.from_dict(saved, "a/config.json").mesh.data == 4
        assert re.match(line, printed := capsys.readouterr().err) and printed.count("\n") == (value == 2)
    with pytest.raises(UserError, match="no field 'mesh.model' any more: .*config.mesh.frames") as error:
        read_config("relo train", TINY, ["--config.mesh.model=2"])
    assert "\n" not in str(error.value)


def test_with_both_names_the_new_one_counts():
    values = {"tracker": {"score_mass": 0.1, "score_local_probability": 0.2}}
    assert renamed.with_current_names(values, "config.json") == {"tracker": {"score_local_probability": 0.2}}
    assert values == {"tracker": {"score_mass": 0.1, "score_local_probability": 0.2}}  # not changed
    assert renamed.with_current_names([3], "config.json") == [3]


def test_a_run_with_the_old_names_continues(tmp_path):
    old = relo_config.to_dict(relo_config.base())
    old["data"]["procedural"]["grain"] = old["data"]["procedural"].pop("sensor_noise")
    run_directory.write_config(tmp_path, old)
    saved = run_directory.read_config(tmp_path)
    relo_config.check_same_run(saved, relo_config.to_dict(relo_config.base()), tmp_path, step=9)
    relo_config.check_same_run(old, relo_config.to_dict(relo_config.base()), tmp_path, step=9)


def test_an_exported_checkpoint_with_the_old_names_is_read(tmp_path):
    shutil.copy(STARTERS / "tiny.msgpack", tmp_path)
    text = (STARTERS / "tiny.json").read_text()
    for old, new in renamed.RENAMED.items():
        text = text.replace(new.split(".")[-1], old.split(".")[-1])
    assert "score_likeness" in text
    (tmp_path / "tiny.json").write_text(text)
    assert checkpoint.load(tmp_path / "tiny.msgpack").config == checkpoint.load("starter-tiny").config


def test_results_with_the_old_names_belong_to_the_same_tracker(tmp_path):
    made_by = {"model": {"width": 8}, "tracker": {"score_local_probability": VALUE}, "weights": "abc"}
    (tmp_path / "run.json").write_text(json.dumps(made_by | {"tracker": {"score_mass": VALUE}}))
    ResultFolder(tmp_path, made_by)
    with pytest.raises(UserError, match="score_local_probability was 0.375, is 0.5"):
        ResultFolder(tmp_path, made_by | {"tracker": {"score_local_probability": 0.5}})
