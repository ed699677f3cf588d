"""Checkpoints load equal to the bit; unreadable ones, and places that cannot be written, are one clear line.

`fixtures/relo_tiny.pth.tar` is a checkpoint in the authors' layout with made-up weights.
"""

import dataclasses
import functools
import json
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.checkpoints.pytorch import export
from relo_jax.errors import UserError
from relo_jax.model import RELO
from tests import command
from tests.checkpoints.checks import assert_same, one_line

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "relo_tiny.pth.tar"


def test_variables_model_and_config_are_saved_and_loaded(saved, model, variables):
    for path in (saved, str(saved), saved / "checkpoints", saved / "checkpoints" / "0"):
        loaded = checkpoint.load(path)
        assert loaded.model == model
        assert loaded.config == {"model": model.config.to_dict(), "tracker": {"window_power": 1.5}}
        assert_same(loaded.variables, variables)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded.variables))


def test_half_precision_is_read_as_float32(tmp_path, model, variables):
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables)
    checkpoint.save_variables(tmp_path / "half", model, half)
    assert_same(checkpoint.load(tmp_path / "half").variables, jax.tree.map(lambda x: x.astype(jnp.float32), half))


def test_a_file_of_the_release_is_loaded(model, variables):
    loaded = checkpoint.load(CHECKPOINT, model)
    assert_same(loaded.variables, variables)
    assert loaded.config["model"] == model.config.to_dict() and "window_power" in loaded.config["tracker"]
    assert checkpoint.describe(RELO.from_variant("l256"))["tracker"]["window_power"] == 2.7
    one_line(checkpoint.load, CHECKPOINT, match="heads=N")


def test_the_dtype_of_the_computation_can_be_chosen(saved, model, variables):
    """Neither the weights nor the config of the training change."""
    loaded = checkpoint.load(saved, dtype="bfloat16")
    assert loaded.model == RELO(dataclasses.replace(model.config, dtype="bfloat16")) != model
    assert_same(loaded.variables, variables)
    assert loaded.config == run_directory.read_config(saved) and loaded.config["model"]["dtype"] == "float32"
    assert checkpoint.load(CHECKPOINT, model, dtype="bfloat16").model == loaded.model
    half = checkpoint.load_tracker("starter-tiny", "bfloat16")
    assert half.model.config.dtype == "bfloat16" and half.config == checkpoint.load("starter-tiny").config
    one_line(functools.partial(checkpoint.load, dtype="bfloat61"), saved, match="dtype is 'bfloat61' .*'bfloat16'")


def test_an_exported_starter_is_small_and_close(tmp_path, model, variables):
    path = tmp_path / "starter" / "mini.msgpack"
    checkpoint.export_starter(variables, model, path, {"window_power": 2.0})
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert path.stat().st_size < 2.1 * count + 20_000
    loaded = checkpoint.load(path)
    assert loaded.model == model and loaded.config["tracker"] == {"window_power": 2.0}
    rounded = jax.tree.map(lambda x: np.asarray(x).astype(np.float16).astype(np.float32), variables["params"])
    assert_same(loaded.variables["params"], rounded)
    assert_same(loaded.variables["batch_stats"], variables["batch_stats"])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    one_line(checkpoint.load, path, match=r"mini\.msgpack is damaged or truncated")


def test_a_starter_is_loaded_by_its_name(tmp_path, monkeypatch, model, variables):
    monkeypatch.setitem(run_directory.STARTERS, "starter", tmp_path / "mini.msgpack")
    one_line(checkpoint.load, match="no such checkpoint")
    checkpoint.export_starter(variables, model, tmp_path / "mini.msgpack")
    assert checkpoint.load("starter").model == model


def test_a_path_that_does_not_exist_may_be_a_misspelt_starter(tmp_path):
    one_line(checkpoint.load, "runs/tiny-warmup", match=r"no such checkpoint \(run directory, .*starter-warmup\)$")
    one_line(checkpoint.load, "startr", match=r"^startr: no such checkpoint \(did you mean 'starter'\?\)$")
    kinds = r"no such checkpoint \(run directory, .*, or one of starter, starter-tiny"
    one_line(checkpoint.load, tmp_path / "b256", match=kinds)


def test_the_package_has_every_starter_and_stays_small():
    packaged = Path(checkpoint.__file__).parent / "starter"
    assert {path.parent for path in run_directory.STARTERS.values()} == {packaged}
    configs = {name: json.loads(path.with_suffix(".json").read_text()) for name, path in run_directory.STARTERS.items()}
    variants = {name: config["model"]["variant"] for name, config in configs.items()}
    assert variants == {"starter": "mini", "starter-tiny": "tiny", "starter-warmup": "tiny"}
    assert sum(path.stat().st_size for path in packaged.iterdir()) < 15e6


def test_another_variant_is_refused_by_the_first_parameter_that_differs(saved, run):
    size = r"it has 3 main blocks of width 96 \(no known variant\), the model has 6 main blocks of width 128 \(tiny\)"
    first = r"params/encoder/blocks/attn/k_proj/kernel: shape \(3, 96, 96\), expected shape \(6, 128, 128\)"
    one_line(checkpoint.load, saved, RELO.from_variant("tiny"), match=f"'tiny': {size}; {first}")
    config = json.loads((run / "config.json").read_text())
    config["model"]["temporal_tokens"] = 4  # not this checkpoint's
    (run / "config.json").write_text(json.dumps(config))
    one_line(checkpoint.load, run, match=r"encoder/pos_embed_ttoken: shape \(2, 96\), expected shape \(4, 96\)")


def test_other_paths_and_configs_are_refused(run, tmp_path):
    one_line(checkpoint.load, tmp_path / "missing", match="missing: no such checkpoint")
    one_line(checkpoint.load, None, match="checkpoint is None: give a path, or one of starter")
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    one_line(checkpoint.load, tmp_path / "empty", match="no finished checkpoint")
    one_line(checkpoint.load, tmp_path, match="is not a checkpoint")
    (tmp_path / "video.mp4").write_bytes(b"\0" * 100)
    one_line(checkpoint.load, tmp_path / "video.mp4", match=r"video\.mp4")
    for content, message in [("{", "not valid JSON"), ("{}", "no section 'model'"), ("[]", "no section 'model'"),
                             ('{"model": {"variant": "tiny"}, "tracker": null}', "no section 'model'")]:  # fmt: skip
        (run / "config.json").write_text(content)
        one_line(checkpoint.load, run, match=message)
    (run / "config.json").unlink()
    one_line(checkpoint.load, run, match=r"has no config\.json")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's other writers
@pytest.mark.parametrize("limit", [1_000, 500_000])
def test_a_failed_write_leaves_nothing(tmp_path, model, variables, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # like a full disk: writing fails halfway
    try:
        one_line(checkpoint.save_variables, tmp_path / "run", model, variables, match="run cannot be written")
        one_line(checkpoint.export_starter, variables, model, tmp_path / "x.msgpack", match="cannot be written")
        one_line(
            export.write, tmp_path / "x.safetensors", model, variables, {}, match="x.safetensors cannot be written"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_relo_convert_writes_a_run_and_a_report(tmp_path, model, variables, capsys):
    out = tmp_path / "checkpoints" / "golden"
    command.run("convert", CHECKPOINT, out, "--set", "heads=3", "--set", "templates=2")
    text = capsys.readouterr().out
    for words in ("RELO checkpoint, variant tiny", "encoder 97 416,952", "and 19 more (counts batches"):
        assert words in " ".join(text.split())
    loaded = checkpoint.load(out)
    assert loaded.model == model
    assert_same(loaded.variables, variables)
    convert = functools.partial(one_line, command.run, "convert", CHECKPOINT)
    convert(out, match="exists already")
    convert(tmp_path / "b", "--variant=b256", match=r"3 main blocks of width 96.* 24 .* 512.*\(b256\)")
    convert(tmp_path / "b", "--variant=b265", match="did you mean 'b256'")
    convert(tmp_path / "b", "--set=depht=3", "--set=heads=3", match="did you mean 'depth'")
    assert not (tmp_path / "b").exists()


def test_a_warm_up_does_not_track():
    assert checkpoint.has_policy(checkpoint.load_tracker("starter"))
    with pytest.raises(UserError, match="starter-warmup is a warm-up without a trained policy"):
        checkpoint.load_tracker("starter-warmup")
