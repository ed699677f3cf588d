"""Mistakes in a config are named before anything is computed; a run continues only with its own config."""

import json

import pytest

from relo_jax import config as relo_config
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.train.state import learning_rate_schedule
from tests.config.configs import change, load


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ({"batchsize": 8}, "batch_size"),
        ({"learning_rate": 1e-3}, "optimizer.learning_rate"),
        ({"data": {"fliip": 0.5}}, "data.flip"),
        ({"optimizer": {"learning_rates": 1e-3}}, "optimizer.learning_rate"),
        ({"model": {"widht": 3}}, "model.width"),
    ],
)
def test_an_unknown_field_names_the_nearest_known_one(given, nearest):
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        relo_config.from_dict(given)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("batch_size", "four"),
        ("batch_size", True),
        ("total_steps", -1),
        ("stage", "warm-up"),
        ("optimizer__learning_rate", float("nan")),
        ("optimizer__learning_rate", -1e-4),
        ("optimizer__drop_at", 1.5),
        ("optimizer__warmup_steps", -1),
        ("rl__path", "clips"),
        ("data__flip", 2.0),
        ("data__name", "lasoot"),
        ("data__name", "lasot+procedurla"),
        ("data__weights", (1.0, 2.0)),  # of one dataset
        ("data__weights", ("a",)),
        ("data__weights", (None,)),
        ("data__name", "folder"),  # without a root
        ("model__depth", 2.5),
        ("mesh__data", 0),
        ("mesh__frames", 0),
        ("mesh__frames", -2),
        ("mesh__shard_params", "zero"),
        ("accumulate_steps", 0),
        ("optimizer__scaling", "root"),
        ("optimizer__reference_batch", 0),
        ("group_size", 7),  # of a batch of 64
        ("batch_norm", "frames"),
        ("data__coco_smallest_side", -1),
        ("init_ignore", ("head.*",)),  # without init_from
        ("warmup__decode_at", "argmax"),  # with an untrained centre map
        ("warmup__train", "centre"),
        ("warmup__train", "center"),  # as above
        ("model__localizer", "heatmap"),  # as above
        ("model__propagation", "shallow_to_deep"),
        ("model__remat_policy", "all"),
    ],
)
def test_a_bad_value_is_named_with_its_field(field, value):
    with pytest.raises(UserError, match=field.replace("__", ".")) as error:
        relo_config.from_dict(change(**{field: value}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            dict(stage="warmup", group_size=16, accumulate_steps=8),
            r"group_size=16 times config.accumulate_steps=8: give",
        ),
        (dict(stage="rl", rl__train="all", group_size=16, accumulate_steps=8), "give a multiple of 128"),
        (dict(stage="rl", rl__clip_length=1, group_size=1), "normalize_advantage standardises over one frame"),
        (dict(stage="rl", rl__rollout="closed_loop", group_size=1), "normalize_advantage standardises over one frame"),
        (dict(stage="rl", group_size=16, accumulate_steps=8), None),  # the heads get all parts together
        (dict(stage="rl", rl__rollout="closed_loop", group_size=2), None),
        (dict(stage="rl", rl__estimator="expected", rl__clip_length=1, group_size=1), None),
    ],
)
def test_groups_are_whole_and_have_a_deviation(fields, message):
    values = change(rl__normalize_advantage=True, **fields)
    if message is None:
        relo_config.from_dict(values)
    else:
        with pytest.raises(UserError, match=message):
            relo_config.from_dict(values)


def test_a_config_survives_json():
    config = load("tiny").get_config("rl")
    config.model.stem_blocks = (1, 2)
    config.tracker.update_threshold = 20  # an int where a float belongs
    back = relo_config.from_dict(json.loads(json.dumps(relo_config.to_dict(config))))
    assert relo_config.flatten(back) == relo_config.flatten(config)
    assert isinstance(back.model.stem_blocks, tuple)


def test_the_config_that_a_run_saves_is_a_config_again():
    model = RELO.from_variant("tiny", depth=2)
    saved = {**relo_config.to_dict(load("tiny").get_config("warmup")), "model": model.config.to_dict()}
    config = relo_config.from_dict(json.loads(json.dumps(saved)))
    assert RELO.from_config(config.model) == model


def test_a_run_continues_only_with_its_own_config():
    saved = change()
    relo_config.check_same_run(saved, change(), "config.json", 9)
    relo_config.check_same_run(saved, change(total_steps=10**9, log_every=7, data__workers=0), "config.json", 9)
    with pytest.raises(UserError, match=r"optimizer\.learning_rate=0\.0001, not 0\.1"):
        relo_config.check_same_run(saved, change(optimizer__learning_rate=0.1), "config.json", 9)
    del saved["data"]["max_gap"]  # a field that did not exist yet
    relo_config.check_same_run(saved, change(), "config.json", 9)
    with pytest.raises(UserError, match="data.max_gap=400, not 5"):
        relo_config.check_same_run(saved, change(data__max_gap=5), "config.json", 9)
    with pytest.raises(UserError, match="total_steps"):
        relo_config.check_same_run(saved, change(total_steps=5), "config.json", 9)
    spread = dict(mesh__data=4, mesh__frames=2, mesh__shard_params="fsdp", optimizer__reference_batch=7)
    relo_config.check_same_run(saved, change(**spread), "config.json", 9)
    with pytest.raises(UserError, match="optimizer.scaling='none', not 'sqrt'"):
        relo_config.check_same_run(saved, change(optimizer__scaling="sqrt"), "config.json", 9)


@pytest.mark.parametrize(
    ("schedule", "drop_at", "step", "may"),
    [("step", 0.8, 80, True), ("step", 0.8, 81, False), ("step", 1.0, 100, True), ("cosine", 1.0, 1, False)],
)
def test_a_run_may_grow_longer_if_no_finished_step_would_have_had_another_rate(schedule, drop_at, step, may):
    fields = dict(optimizer__schedule=schedule, optimizer__drop_at=drop_at)
    saved, longer = change(total_steps=100, **fields), change(total_steps=150, **fields)
    if may:
        relo_config.check_same_run(saved, longer, "config.json", step)
        rates = [learning_rate_schedule(relo_config.from_dict(values), 1.0) for values in (saved, longer)]
        assert all(rates[0](k) == rates[1](k) for k in range(step))
    else:
        with pytest.raises(UserError, match=f"total_steps=100, and with 150 the {step} steps done") as error:
            relo_config.check_same_run(saved, longer, "config.json", step)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stage", "weights", "may"), [("rl", (0.1, 0.0), False), ("rl", (0.1, 0.1), True), ("warmup", (0.1, 0.0), True)]
)
def test_a_run_may_not_grow_longer_if_its_entropy_bonus_would_change(stage, weights, may):
    fields = dict(stage=stage, rl__entropy_weight=weights[0], rl__entropy_weight_end=weights[1])
    saved, longer = change(total_steps=100, **fields), change(total_steps=150, **fields)
    if may:
        relo_config.check_same_run(saved, longer, "config.json", 50)
    else:
        with pytest.raises(UserError, match="the 50 steps done would have had other entropy bonuses: keep 100"):
            relo_config.check_same_run(saved, longer, "config.json", 50)


def test_a_name_in_place_of_a_config_says_how_to_make_one():
    with pytest.raises(UserError, match=r"'tiny:rl' is no config: make one, such as relo_jax.get_config"):
        relo_config.validate("tiny:rl")
