"""Which implementation runs where."""

import types

import jax
import pytest

from relo_jax.model import layers, platform


@pytest.mark.parametrize(
    "name, frames, dtype, head_width, expected",
    [
        ("gpu", 64, "bfloat16", 64, "cudnn"),
        ("gpu", 64, "float16", 64, "cudnn"),
        ("gpu", 1, "bfloat16", 64, "plain"),  # one frame: a single CUDA graph
        ("gpu", 64, "float32", 64, "plain"),  # flash attention takes no float32
        ("gpu", 64, "bfloat16", 12, "plain"),  # nor heads of any width
        ("tpu", 64, "bfloat16", 64, "plain"),
        ("cpu", 64, "bfloat16", 64, "plain"),
        ("a new one", 64, "bfloat16", 64, "plain"),
    ],
)
def test_attention_by_platform_and_shape(name, frames, dtype, head_width, expected):
    with platform.compiling_for(name):
        assert platform.attention(frames, dtype, head_width) == expected


@pytest.mark.parametrize(
    "capabilities, expected", [(["7.5"], "plain"), (["8.0", "9.0"], "cudnn"), (["9.0", "7.0"], "plain")]
)
def test_cards_older_than_ampere_have_no_flash_attention(monkeypatch, capabilities, expected):
    devices = [types.SimpleNamespace(compute_capability=capability) for capability in capabilities]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert platform.attention(64, "bfloat16", 64) == expected


def test_norms_take_their_variance_as_the_platform_does():
    assert layers.layer_norm("float32", "norm").use_fast_variance
    with platform.compiling_for("gpu"):
        assert not layers.layer_norm("float32", "norm").use_fast_variance
    assert layers.layer_norm("float32", "norm").use_fast_variance
