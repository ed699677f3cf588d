"""Weights under the release's names equal the release's file to the bit, and come back as they were."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert, export, reader, safetensors_file
from relo_jax.model import RELO
from tests.checkpoints.checks import assert_same, one_line


def test_the_names_and_numbers_are_those_of_the_release(model, variables, fixtures):
    ours = export.state_dict(variables, model)
    release = reader.load(fixtures / "relo_tiny.pth.tar")["net"]
    assert ours.keys() == release.keys()
    for name, tensor in release.items():
        assert (ours[name].shape, ours[name].dtype) == (tensor.shape, tensor.dtype), name
        if not name.endswith("num_batches_tracked"):  # not among the variables
            np.testing.assert_array_equal(ours[name], tensor, err_msg=name)


def test_a_file_comes_back_equal_to_the_bit(model, variables, tmp_path):
    path = tmp_path / "golden.safetensors"
    tracker = {**relo_config.base().tracker.to_dict(), "window_power": 1.5, "score_bias": -1.25}
    export.write(path, model, variables, {"model": {}, "tracker": tracker, "stage": "rl", "data": {"root": "/secret"}})
    loaded = checkpoint.load(path)
    assert loaded.model == model  # its number of heads shows in no shape
    assert loaded.config == {"model": model.config.to_dict(), "tracker": tracker, "stage": "rl"}
    assert_same(loaded.variables, variables)
    assert convert.model_for(path, {"heads": 2}).config.heads == 2
    assert checkpoint.load_tracker(path, "bfloat16").model.config.dtype == "bfloat16"
    texts = safetensors_file.metadata(path)
    assert (texts["format"], texts["variant"], texts["network"]) == ("pt", "tiny", "RELO")
    one_line(checkpoint.load, path, RELO.from_variant("tiny"), match="has 3 main blocks of width 96 .* 6 main blocks")


def test_a_warm_up_is_written_without_its_untrained_heads(model, variables, tmp_path):
    path = tmp_path / "warm.safetensors"
    count = export.write(path, model, variables, {"stage": "warmup", "tracker": {}}, with_policy=False)
    names = load_file(path).keys()
    assert len(names) == count and not any(name.startswith(("policy_model.", "value_model.")) for name in names)
    assert convert.find(path).kind == convert.WARMUP


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"model": 3}',
        '{"model": {"width": 96}, "tracker": {}}',
        '{"model": {"variant": []}, "tracker": {}}',
        '{"model": {"variant": "tiny"}, "tracker": 3}',
    ],
)
def test_a_damaged_config_in_the_header_is_one_line(text, tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors_file.save(path, {"a": np.zeros(1, np.float32)}, {"relo_jax_config": text})
    one_line(checkpoint.load, path, match=r"x\.safetensors has a damaged config in its header")


def test_files_of_others_have_no_config(tmp_path, fixtures):
    safetensors_file.save(tmp_path / "x.safetensors", {"a": np.zeros(1)}, {"config": json.dumps({"model": {}})})
    assert export.config_of(tmp_path / "x.safetensors") == {}
    assert export.config_of(fixtures / "relo_tiny.pth.tar") == {}
