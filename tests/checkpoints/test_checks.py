"""What a checkpoint holds is checked before it is used, whatever format it has."""

import json

import flax.serialization
import numpy as np
import orbax.checkpoint as ocp
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from tests.checkpoints.checks import one_line


def changed(variables, value):
    """The variables with another value of one bias, or of its first number."""
    tree = flax.serialization.to_state_dict(flax.serialization.msgpack_restore(to_bytes(variables)))
    bias = np.array(tree["params"]["policy"]["out"]["bias"])
    bias[0] = value if isinstance(value, float) else bias[0]
    tree["params"]["policy"]["out"]["bias"] = bias if isinstance(value, float) else value
    return tree


def to_bytes(tree):
    return flax.serialization.msgpack_serialize(flax.serialization.to_state_dict(tree))


@pytest.fixture
def exported(tmp_path, model, variables):
    """Writes a `.msgpack` checkpoint with any content."""
    path = tmp_path / "mini.msgpack"
    checkpoint.export_starter(variables, model, path)

    def write(content):
        path.write_bytes(to_bytes(content))
        return path

    return write


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(exported, variables, value):
    path = exported(changed(variables, value))
    one_line(checkpoint.load, path, match=r"mini\.msgpack cannot be used: 1 of the 1 numbers of params/policy/out")


def test_orbax_weights_that_are_not_finite_are_refused(tmp_path, model, variables):
    run_directory.write_config(tmp_path, checkpoint.describe(model))
    with run_directory.manager(tmp_path) as steps:
        variables = changed(variables, np.nan)
        steps.save(0, args=ocp.args.Composite(variables=ocp.args.StandardSave(variables)))
    one_line(checkpoint.load, tmp_path, match="cannot be used: 1 of the 1 numbers of params/policy/out/bias")


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        ("text", "params/policy/out/bias is str"),
        (3, "params/policy/out/bias is int"),
        (np.array([True]), "params/policy/out/bias is an array of bool"),
        (np.zeros(7, np.float32), r"params/policy/out/bias: shape \(7,\), expected"),
    ],
)
def test_leaves_that_are_no_arrays_of_numbers_are_refused(exported, variables, leaf, message):
    one_line(checkpoint.load, exported(changed(variables, leaf)), match=message)


@pytest.mark.parametrize("content", [7, "text", [1, 2], {"params": 1}, {}, np.zeros(3)])
def test_a_file_with_another_content_is_refused(exported, content):
    path = exported({})
    path.write_bytes(flax.serialization.msgpack_serialize(content))
    one_line(checkpoint.load, path, match=r"mini\.msgpack is (no checkpoint|of another variant)")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "{}" + " " * (5 << 20), "7", "null", '{"model": 7}', '{"model": {"variant": ["tiny"]}}',
        '{"model": {"variant": "tiny", "width": 1e300}}', '{"model": {"variant": "tiny", "depth": 100000000}}',
        '{"model": {"variant": "tiny", "stem_blocks": {"a": 1}}}', "\x00", "NaN",
    ],
)  # fmt: skip
def test_a_config_of_another_kind_is_refused(exported, variables, text):
    path = exported(variables)
    path.with_suffix(".json").write_text(text)
    one_line(checkpoint.load, path, match=".")


def test_a_config_that_is_a_folder_is_refused(exported, variables):
    path = exported(variables)
    path.with_suffix(".json").unlink()
    path.with_suffix(".json").mkdir()
    one_line(checkpoint.load, path, match=r"mini\.json cannot be read \(Is a directory\)")


def test_a_config_is_read_whatever_its_order(exported, variables):
    path = exported(variables)
    config = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(dict(reversed(config.items()))))
    assert checkpoint.load(path).config.keys() == config.keys()
