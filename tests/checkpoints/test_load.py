"""What is saved comes back to the bit, from wherever it lies; what cannot be read or written is one clear line.

`fixtures/relo_tiny.pth.tar` is a checkpoint in the authors' layout, of made-up weights.
"""

import dataclasses
import functools
import json
import resource
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.checkpoints.pytorch import convert
from relo_jax.errors import UserError
from relo_jax.model import RELO
from tests import command
from tests.golden import FIELDS as GOLDEN

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "relo_tiny.pth.tar"


@pytest.fixture(scope="module")
def model():
    return RELO.from_variant("tiny", **GOLDEN)


@pytest.fixture(scope="module")
def variables(model):
    return convert.from_torch(CHECKPOINT, model)


@pytest.fixture(scope="module")
def saved(model, variables, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, model, variables, {"window_power": 1.5})
    return path


@pytest.fixture
def run(saved, tmp_path):
    """A copy of the saved run that a test may damage."""
    return shutil.copytree(saved, tmp_path / "run")


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def one_line(call, *args, match):
    with pytest.raises(UserError, match=match) as error:
        call(*args)
    assert "\n" not in str(error.value)


def test_variables_model_and_config_come_back(saved, model, variables):
    for path in (saved, str(saved), saved / "checkpoints", saved / "checkpoints" / "0"):
        loaded = checkpoint.load(path)
        assert loaded.model == model
        assert loaded.config == {"model": model.config.to_dict(), "tracker": {"window_power": 1.5}}
        assert_same(loaded.variables, variables)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded.variables))


def test_the_newest_finished_step_is_taken(run, model, variables):
    newer = jax.tree.map(lambda x: x + 1, variables)
    with run_directory.manager(run, keep=2) as manager:
        for step, tree in ((5, variables), (12, newer)):
            items = {
                run_directory.VARIABLES: ocp.args.StandardSave(tree),
                run_directory.TRAIN: ocp.args.StandardSave({"step": jnp.int32(step)}),
                run_directory.DATA: ocp.args.JsonSave({"next_index": step}),
            }
            manager.save(step, args=ocp.args.Composite(**items))
    (run / "checkpoints" / "20.orbax-checkpoint-tmp").mkdir()  # a save that was killed
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["12", "20.orbax-checkpoint-tmp", "5"]
    assert_same(checkpoint.load(run).variables, newer)
    assert_same(checkpoint.load(run / "checkpoints" / "5").variables, variables)


def test_half_precision_is_read_as_float32(tmp_path, model, variables):
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables)
    checkpoint.save_variables(tmp_path / "half", model, half)
    assert_same(checkpoint.load(tmp_path / "half").variables, jax.tree.map(lambda x: x.astype(jnp.float32), half))


def test_a_release_file_is_loaded_as_it_is(model, variables):
    loaded = checkpoint.load(CHECKPOINT, model)
    assert_same(loaded.variables, variables)
    assert loaded.config["model"] == model.config.to_dict() and "window_power" in loaded.config["tracker"]
    assert checkpoint.describe(RELO.from_variant("l256"))["tracker"]["window_power"] == 2.7
    one_line(checkpoint.load, CHECKPOINT, match="heads=N")


def test_a_checkpoint_is_computed_in_the_dtype_that_is_asked_for(saved, model, variables):
    """The weights stay as they are, and so does what the config says of how it was made."""
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


def test_the_starter_is_found_by_its_name(tmp_path, monkeypatch, model, variables):
    monkeypatch.setitem(run_directory.STARTERS, "starter", tmp_path / "mini.msgpack")
    one_line(checkpoint.load, match="no such checkpoint")
    checkpoint.export_starter(variables, model, tmp_path / "mini.msgpack")
    assert checkpoint.load("starter").model == model


def test_the_package_has_every_starter_and_stays_small():
    packaged = Path(checkpoint.__file__).parent / "starter"
    assert {path.parent for path in run_directory.STARTERS.values()} == {packaged}
    about = {name: json.loads(path.with_suffix(".json").read_text()) for name, path in run_directory.STARTERS.items()}
    variants = {name: config["model"]["variant"] for name, config in about.items()}
    assert variants == {"starter": "mini", "starter-tiny": "tiny", "starter-warmup": "tiny"}
    assert sum(path.stat().st_size for path in packaged.iterdir()) < 15e6


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_checkpoint_is_refused(run, share, capfd):
    data = max((run / "checkpoints").rglob("d/*"), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    one_line(checkpoint.load, run, match=r"checkpoints/0 is damaged or truncated")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["variables", "variables/_METADATA", "variables/manifest.ocdbt", "variables/d"])
def test_a_checkpoint_with_a_part_missing_is_refused(run, name):
    part = run / "checkpoints" / "0" / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    one_line(checkpoint.load, run, match=r"checkpoints/0 is damaged or truncated")


def test_another_variant_is_refused_by_the_first_parameter_that_differs(saved, run):
    first = r"'tiny': params/encoder/blocks/attn/k_proj/kernel: shape \(3, 96, 96\), expected shape \(6, 128, 128\)"
    one_line(checkpoint.load, saved, RELO.from_variant("tiny"), match=first)
    config = json.loads((run / "config.json").read_text())
    config["model"]["temporal_tokens"] = 4  # a config that is not this checkpoint's
    (run / "config.json").write_text(json.dumps(config))
    one_line(checkpoint.load, run, match=r"encoder/pos_embed_ttoken: shape \(2, 96\), expected shape \(4, 96\)")


def test_what_is_no_checkpoint_is_refused(run, tmp_path):
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


def test_an_existing_directory_is_not_written_into(saved, model, variables, tmp_path):
    one_line(checkpoint.save_variables, saved, model, variables, match="exists already")
    (tmp_path / "empty").mkdir()
    checkpoint.save_variables(tmp_path / "empty", model, variables)
    assert_same(checkpoint.load(tmp_path / "empty").variables, variables)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's other writers
@pytest.mark.parametrize("limit", [1_000, 500_000])
def test_nothing_is_left_of_a_checkpoint_that_could_not_be_written(tmp_path, model, variables, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # as a full disk: writing fails half-way
    try:
        one_line(checkpoint.save_variables, tmp_path / "run", model, variables, match="run cannot be written")
        one_line(checkpoint.export_starter, variables, model, tmp_path / "x.msgpack", match="cannot be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_noticed_before_writing(tmp_path, model, variables, monkeypatch):
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    one_line(checkpoint.save_variables, tmp_path / "new" / "run", model, variables, match="no space left.* 3 MiB")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    checkpoint.save_variables(tmp_path / "new" / "run", model, variables)


def test_relo_convert_writes_a_run_and_an_account(tmp_path, model, variables, capsys):
    out = tmp_path / "checkpoints" / "golden"
    command.run("convert", CHECKPOINT, out, "--set", "heads=3", "--set", "templates=2")
    text = capsys.readouterr().out
    for line in ("RELO checkpoint, variant tiny", "encoder           97       416,952", "and 19 more (counts batches"):
        assert line in text
    loaded = checkpoint.load(out)
    assert loaded.model == model
    assert_same(loaded.variables, variables)
    convert = functools.partial(one_line, command.run, "convert", CHECKPOINT)
    convert(out, match="exists already")
    convert(tmp_path / "b", "--variant=b256", match=r"'b256' needs \(128, ")
    convert(tmp_path / "b", "--variant=b265", match="did you mean 'b256'")
    convert(tmp_path / "b", "--set=depht=3", "--set=heads=3", match="did you mean 'depth'")
    assert not (tmp_path / "b").exists()


def test_a_warm_up_does_not_track():
    assert checkpoint.has_policy(checkpoint.load_tracker("starter"))
    with pytest.raises(UserError, match="starter-warmup is a warm-up without a trained policy"):
        checkpoint.load_tracker("starter-warmup")
