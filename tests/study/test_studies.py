"""The files of `configs/ablations/`: each is a valid config, and differs from its reference in what it says."""

import ast
import re
from pathlib import Path

import pytest

from relo_jax import config as relo_config
from relo_jax.errors import UserError
from relo_jax.study import studies
from relo_jax.study.arm import frames_a_step

FOLDER = Path(__file__).parents[2] / "configs" / "ablations"
ARMS = sorted(path.stem for path in FOLDER.glob("*.py"))
REFERENCES = {"reward", "tokens_layer_aligned", "with_warmup"}  # are compared with no other file
STATED = re.compile(r"([Dd]iffers|`(\w+)` differs) from (\w+)\.py:(\w+) in\s((?:`[\w.]+`(?:,?\s(?:and\s)?)?)+)")


def stages_of(arm):
    return studies.STAGES.get(arm, ("rl",))


def stated(arm):
    """Stage -> (arm, stage) of the reference and the fields that the docstring of a file names."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{arm}.py").read_text()))
    found = {}
    for _, stage, reference, of, fields in STATED.findall(text):
        found[stage or stages_of(arm)[-1]] = (reference, of), set(re.findall(r"`([\w.]+)`", fields))
    return found


@pytest.mark.parametrize("arm", ARMS)
def test_each_stage_is_valid_and_no_other_is_there(arm):
    for stage in stages_of(arm):
        config = studies.config_of(arm, stage)
        relo_config.validate(config)
        assert config.stage == stage
    with pytest.raises(UserError, match="stage is 'both': this file has"):
        studies.config_of(arm, "both")


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm not in REFERENCES])
def test_it_differs_in_exactly_the_fields_that_it_names(arm):
    found = stated(arm)
    assert set(found) == set(stages_of(arm)), f"{arm}.py: which reference?"
    for stage, (reference, fields) in found.items():
        mine, other = (relo_config.flatten(studies.config_of(*key)) for key in ((arm, stage), reference))
        assert {name for name in mine if mine[name] != other[name]} == fields, f"{arm}.py:{stage}"


def test_with_and_without_a_warm_up_the_encoder_sees_as_many_frames(tmp_path):
    frames = {
        name: sum(config.total_steps * frames_a_step(config) for config, _ in studies.stages(name, 0, 1.0, tmp_path))
        for name in ("with_warmup", "without_warmup")
    }
    assert frames["with_warmup"] == frames["without_warmup"] == 35_840


def test_every_arm_is_a_file_and_every_file_an_arm():
    assert {arm for study in studies.STUDIES.values() for arm in study.arms} == set(ARMS)
    assert set(studies.STAGES) <= set(ARMS)
