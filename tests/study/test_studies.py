"""`configs/ablations.py`: each arm is a valid config, and differs from its origin in the fields of its row."""

import pytest

from relo_jax import config as relo_config
from relo_jax.config.command_line import read_config
from relo_jax.errors import UserError
from relo_jax.study import studies
from relo_jax.study.arm import frames_a_step
from relo_jax.study.recipe import config_of

ARMS = studies.all_arms()
STAGES = [f"{name}:{stage}" for name, arm in ARMS.items() for stage in arm.stages]


def config(stage):
    return config_of(ARMS, stage)


def differing(stage, other):
    """The fields in which two stages differ."""
    first, second = (relo_config.flatten(config(name)) for name in (stage, other))
    return {name for name in first if first[name] != second[name]}


def origins(stage):
    """Name of a stage -> the fields that its row changes, for the stage and all that it is derived from."""
    changes = {}
    while isinstance(stage, str):
        name, _, of = stage.partition(":")
        changes[stage] = set(ARMS[name].changes)
        stage = ARMS[name].stages[of]
    return changes


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_valid_and_differs_from_its_origin_in_exactly_the_fields_of_its_row(stage):
    relo_config.validate(config(stage))
    name, _, of = stage.partition(":")
    assert config(stage).stage == of
    origin = ARMS[name].stages[of]
    if isinstance(origin, str):
        assert differing(stage, origin) == set(ARMS[name].changes)


@pytest.mark.parametrize("study", studies.STUDIES.values(), ids=studies.STUDIES)
def test_the_arms_of_a_study_differ_from_its_first_only_in_the_fields_that_rows_name(study):
    last = {arm: f"{arm}:{list(ARMS[arm].stages)[-1]}" for arm in study.arms}
    first = last[study.arms[0]]
    for arm in study.arms[1:]:
        chain = origins(last[arm])
        common = next(stage for stage in chain if stage in origins(first))
        between = set.union(*(fields for stage, fields in chain.items() if stage not in origins(first)))
        assert not differing(first, common)
        assert differing(last[arm], first) <= between


def test_every_arm_is_in_a_study():
    assert {arm for study in studies.STUDIES.values() for arm in study.arms} == set(ARMS)


def test_an_arm_can_be_trained_by_hand():
    read = lambda name: relo_config.to_dict(read_config("relo train", f"configs/ablations.py:{name}"))
    assert read("rloo") == read("rloo:rl") == relo_config.to_dict(config("rloo:rl"))
    assert read("with_warmup")["stage"] == "warmup" and read("with_warmup:rl")["stage"] == "rl"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("with_warmup:both", r"arm with_warmup has no stage 'both' \(known: warmup, rl\)"),
        ("rloo:warmup", r"arm rloo has no stage 'warmup' \(known: rl\)"),
        ("heatmaps", r"no arm is called 'heatmaps' \(did you mean 'heatmap'\?\)"),
    ],
)
def test_an_unknown_arm_or_stage_is_one_line(name, message):
    with pytest.raises(UserError, match=message):
        read_config("relo train", f"configs/ablations.py:{name}")


def test_with_and_without_a_warm_up_the_encoder_sees_as_many_frames(tmp_path):
    frames = {
        name: sum(config.total_steps * frames_a_step(config) for config, _ in studies.stages(name, 0, 1.0, tmp_path))
        for name in ("with_warmup", "without_warmup")
    }
    assert frames["with_warmup"] == frames["without_warmup"] == 35_840
