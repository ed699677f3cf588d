"""Configs: the paper's numbers, and mistakes that are named before anything is computed."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.commands import main
from relo_jax.config.command_line import read_config
from relo_jax.config.data_options import Options
from relo_jax.errors import UserError
from relo_jax.model import RELO, VARIANTS, ModelConfig
from relo_jax.train.state import learning_rate_schedule, optimizer
from tests import command

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = str(CONFIGS / "relo_tiny.py")


def get_config(name, stage):
    spec = importlib.util.spec_from_file_location(f"config_{name}", CONFIGS / f"relo_{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(stage)


def change(**fields):
    """The base config as a nested dict with dotted fields replaced (`__` for the dot)."""
    values = relo_config.to_dict(relo_config.base())
    for name, value in fields.items():
        node = values
        *sections, last = name.split("__")
        for section in sections:
            node = node[section]
        node[last] = value
    return values


@pytest.mark.parametrize("stage", ["warmup", "rl"])
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_each_variant_has_a_config_that_is_valid_and_builds_its_model(variant, stage):
    config = get_config(variant, stage)
    relo_config.validate(config)
    assert (config.stage, config.model.variant) == (stage, variant)
    model = RELO.from_config(config.model)
    assert RELO(dataclasses.replace(model.config, remat=False)) == RELO.from_variant(variant)


@pytest.mark.parametrize("variant", ["t256", "b256", "l256"])
def test_the_paper_s_schedule(variant):
    warmup, rl = get_config(variant, "warmup"), get_config(variant, "rl")
    assert (warmup.batch_size, warmup.total_steps) == (64, 90 * 100_000 / 64)
    assert rl.batch_size == 16 and 0 <= rl.total_steps * 16 - 90 * 2_500 < 16
    assert all(c.optimizer.reference_batch == c.batch_size and c.optimizer.scaling == "none" for c in (warmup, rl))
    for config in (warmup, rl):
        assert config.optimizer.learning_rate == 1e-4 and config.optimizer.encoder_learning_rate == 1e-5
        assert config.optimizer.weight_decay == 1e-4 and config.optimizer.clip_norm == 0.1
        assert config.optimizer.schedule == "step" and config.optimizer.drop_at == 72 / 90
    assert (warmup.warmup.giou_weight, warmup.warmup.l1_weight, warmup.warmup.center_focal_weight) == (2, 5, 0)
    assert warmup.warmup.search_frames == 2 and rl.rl.clip_length == 8
    assert not rl.rl.normalize_advantage and relo_config.starter("rl").rl.normalize_advantage
    assert {"t256": 2.0, "b256": 3.0, "l256": 2.7}[variant] == rl.tracker.window_power


def test_model_fields_are_those_of_the_model():
    fields = {f.name for f in dataclasses.fields(ModelConfig)}
    assert set(relo_config.base().model) == fields


def test_procedural_fields_are_those_of_the_clips_and_their_defaults_too():
    assert relo_config.base().data.procedural.to_dict() == dataclasses.asdict(Options())


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
        ("optimizer__warmup_steps", 10**9),
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
        ("mesh__model", 0),
        ("mesh__shard_params", "zero"),
        ("accumulate_steps", 0),
        ("optimizer__scaling", "root"),
        ("optimizer__reference_batch", 0),
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


def test_a_config_lives_through_json():
    config = get_config("tiny", "rl")
    config.model.stem_blocks = (1, 2)
    config.tracker.update_threshold = 20  # an int where a float belongs
    back = relo_config.from_dict(json.loads(json.dumps(relo_config.to_dict(config))))
    assert relo_config.flatten(back) == relo_config.flatten(config)
    assert isinstance(back.model.stem_blocks, tuple)


def test_the_config_that_a_run_saves_is_a_config_again():
    model = RELO.from_variant("tiny", depth=2)
    saved = {**relo_config.to_dict(get_config("tiny", "warmup")), "model": model.config.to_dict()}
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
    spread = dict(mesh__data=4, mesh__model=2, mesh__shard_params="fsdp", optimizer__reference_batch=7)
    relo_config.check_same_run(saved, change(**spread), "config.json", 9)
    with pytest.raises(UserError, match="optimizer.scaling='none', not 'sqrt'"):
        relo_config.check_same_run(saved, change(optimizer__scaling="sqrt"), "config.json", 9)


@pytest.mark.parametrize(
    ("schedule", "drop_at", "step", "may"),
    [("step", 0.8, 80, True), ("step", 0.8, 81, False), ("step", 1.0, 100, True), ("cosine", 1.0, 1, False)],
)
def test_a_run_may_grow_longer_while_no_step_done_would_have_had_another_rate(schedule, drop_at, step, may):
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
def test_a_run_may_not_grow_longer_where_its_entropy_bonus_would_have_been_another(stage, weights, may):
    fields = dict(stage=stage, rl__entropy_weight=weights[0], rl__entropy_weight_end=weights[1])
    saved, longer = change(total_steps=100, **fields), change(total_steps=150, **fields)
    if may:
        relo_config.check_same_run(saved, longer, "config.json", 50)
    else:
        with pytest.raises(UserError, match="the 50 steps done would have had other entropy bonuses: keep 100"):
            relo_config.check_same_run(saved, longer, "config.json", 50)


@pytest.mark.parametrize("stage", ["warmup", "rl"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_gradients_are_clipped_and_each_module_has_its_rate(stage, clip_norm):
    """Adam divides by what its first gradient was; the encoder's, 1e-12, is small beside its epsilon, and shows it."""
    fields = dict(optimizer__weight_decay=0.0, optimizer__learning_rate=1e-2, optimizer__encoder_learning_rate=1e-3)
    values = change(stage=stage, optimizer__clip_norm=clip_norm, **fields)
    tx = optimizer(relo_config.from_dict(values))
    params = {name: np.float32([3.0, 4.0]) for name in ("encoder", "regression", "policy")}
    grads = {name: np.float32([3e-12, 4e-12]) for name in params} | {"policy": np.float32([3.0, 4.0])}
    updates, _ = tx.update(grads, tx.init(params), params)
    rates = {"encoder": 1e-3, "policy": 1e-2, "regression": 1e-3 if stage == "rl" else 1e-2}
    for name, rate in rates.items():
        given = grads[name] / (5.0 if clip_norm else 1.0)
        np.testing.assert_allclose(updates[name], -rate * given / (given + 1e-8), rtol=1e-4)


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1.0), ("sqrt", 2.0), ("linear", 4.0)])
def test_learning_rates_are_for_the_reference_batch(scaling, factor):
    values = change(batch_size=256, optimizer__reference_batch=64, optimizer__scaling=scaling, total_steps=10)
    assert learning_rate_schedule(relo_config.from_dict(values), 1e-4)(0) == pytest.approx(factor * 1e-4)
    values["batch_size"] = 64
    assert learning_rate_schedule(relo_config.from_dict(values), 1e-4)(0) == pytest.approx(1e-4)


def test_the_command_line_changes_single_fields():
    argv = [f"--config={TINY}:rl", "--workdir", "runs/x", "--config.batch_size=4", "--config.model.depth=2"]
    argv += ["--config.rl.drop_path", "--config.optimizer.learning_rate=1", "--config.model.stem_blocks=(2,1)"]
    args = main.parse(["train", *argv])
    assert args.workdir == "runs/x" and not args.distributed
    config = read_config("relo train", args.config, args.fields)
    relo_config.validate(config)
    assert (config.stage, config.batch_size, config.model.depth) == ("rl", 4, 2)
    assert config.rl.drop_path and config.optimizer.learning_rate == 1.0 and config.model.stem_blocks == (2, 1)


def test_two_command_lines_in_one_process_do_not_mix():
    first = read_config("relo train", TINY, ["--config.batch_size=4"])
    second = read_config("relo train", TINY)
    assert first.batch_size == 4 and second.batch_size == get_config("tiny", "warmup").batch_size


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([f"--config={TINY}", "--workdir=x", "--config.batchsize=4"], "did you mean 'batch_size'"),
        ([f"--config={TINY}", "--workdir=x", "--config.batch_size=four"], "batch_size=four"),
        ([f"--config={TINY}:warm", "--workdir=x"], "config.stage is 'warm'"),
        (["--config=configs/missing.py", "--workdir=x"], "configs/missing.py does not exist"),
        ([f"--config={TINY}", "--wrkdir=x"], "unexpected argument '--wrkdir=x'"),
        ([f"--config={TINY}"], "--workdir is missing"),
        (["--workdir=x"], "--config is missing"),
        ([f"--config={TINY}", "--workdir=x", "more"], "unexpected argument 'more'"),
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
