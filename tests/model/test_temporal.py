"""Temporal tokens: two equal ways through time, and the three ways to pass tokens on."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.config.model_config import CHOICES
from relo_jax.model import temporal
from relo_jax.model.fast_itpn import Block
from tests.model.small import CLIPS, FRAMES, clips, compiled, encode_templates, encoded, reference, small, variables

PROPAGATION = CHOICES["propagation"]


@pytest.mark.parametrize("propagation", PROPAGATION)
def test_each_layer_hands_its_tokens_on_but_deep_to_shallow_the_last_layers_alone(propagation):
    assert temporal.carried_rows(small(propagation=propagation).config) == (1 if "deep" in propagation else 3)


@pytest.mark.parametrize("split", [(1, 1), (2, 4)], ids=["whole clips", "clips in four parts"])
def test_a_frame_reads_the_tokens_of_the_frame_before_it(split):
    """By hand; the first frame of the first clip reads its own, that of the second what was carried to it."""
    current, carried = np.random.default_rng(0).normal(size=(2, 12, 3, 5)).astype(np.float32), np.ones((2, 3, 5))
    expected = np.roll(current, 1, axis=1)
    expected[0, 0], expected[1, 0] = current[0, 0], 1
    auto = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh(split, ("data", "frames"), axis_types=auto, devices=jax.devices()[: split[0] * split[1]])
    with jax.set_mesh(mesh):
        previous = jax.jit(temporal.previous_tokens)(current, jnp.float32(carried), np.array([True, False]))
    np.testing.assert_array_equal(previous, expected)


@pytest.mark.parametrize("propagation", PROPAGATION)
def test_the_clip_path_equals_the_frame_path(propagation):
    templates, search = encode_templates(), clips()[2]
    clip_features, clip_tokens = encoded(propagation)
    # The first frame must not read what is carried into it.
    rows = 1 if propagation == "deep_to_shallow" else 3
    tokens, first = np.full((rows, CLIPS, 2, 32), 100.0, np.float32), np.ones(CLIPS, bool)
    frame = compiled("frame", propagation=propagation)
    for t in range(FRAMES):
        features, tokens = frame(variables(), templates, search[:, t], tokens, first)
        np.testing.assert_allclose(features, clip_features[:, t], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(tokens, clip_tokens[:, :, t], rtol=1e-5, atol=1e-5)
        first = np.zeros(CLIPS, bool)


def test_the_propagations_are_equal_in_the_first_frame_and_differ_from_then_on():
    aligned, deep, none = (encoded(propagation)[0] for propagation in PROPAGATION)
    for other in (deep, none):
        np.testing.assert_allclose(other[:, 0], aligned[:, 0], rtol=1e-5, atol=1e-5)
        assert np.abs(other[:, 1] - aligned[:, 1]).max() > 1e-4
    assert np.abs(deep[:, 1] - none[:, 1]).max() > 1e-4


def test_with_no_propagation_every_frame_is_a_first_one():
    features, _ = encoded("none")
    frame, tokens = compiled("frame"), np.zeros((3, CLIPS, 2, 32), np.float32)
    for t in range(FRAMES):
        alone, _ = frame(variables(), encode_templates(), clips()[2][:, t], tokens, np.ones(CLIPS, bool))
        np.testing.assert_allclose(features[:, t], alone, rtol=1e-5, atol=1e-5)


def test_deep_to_shallow_begins_with_the_tokens_that_left_the_last_block():
    """Against the definition, frame by frame; three of them, since P and T are equal in the first."""
    model = small()
    values = variables()["params"]["encoder"]
    block = Block(small(propagation="deep_to_shallow").config)
    nothing, first = jnp.zeros(0), jnp.ones(CLIPS, bool)  # neither is read
    own = jnp.broadcast_to(values["ttokens"] + values["pos_embed_ttoken"], (CLIPS, 1, 2, 32))

    @jax.jit
    def one_frame(images, templates, previous):
        x = model.apply(variables(), images[:, None], method=lambda module, images: module.encoder.stem(images))
        x = x + values["pos_embed"][:16] + values["search_token"]
        x = jnp.concatenate([x, templates[:, None], previous, own], axis=2)
        through = lambda x, parameters: (block.apply({"params": parameters}, x, (0.0, nothing), first, False)[0], None)
        x, _ = jax.lax.scan(through, x, values["blocks"])
        return nn.LayerNorm(epsilon=1e-6).apply({"params": values["fc_norm"]}, x[:, 0, :16]), x[:, :, -2:]

    left = own
    for t in range(FRAMES):
        expected, left = one_frame(clips()[2][:, t], encode_templates(), left)
        np.testing.assert_allclose(encoded("deep_to_shallow")[0][:, t], expected, rtol=1e-5, atol=1e-5)


def test_a_frame_depends_on_the_frames_before_it_and_on_no_later_one():
    _, out = reference()
    changed = clips()[2].copy()
    changed[:, 1] = 255 - changed[:, 1]
    other, _ = compiled("encode_clip")(variables(), encode_templates(), changed)
    same, _ = compiled("encode_clip")(variables(), encode_templates(), clips()[2])
    np.testing.assert_allclose(same, out.features, rtol=1e-4, atol=2e-5)
    np.testing.assert_array_equal(other[:, 0], same[:, 0])
    assert np.abs(other[:, 2] - same[:, 2]).max() > 1e-4


@pytest.mark.parametrize("overrides", [{}, {"propagation": "deep_to_shallow", "remat": True}], ids=str)
def test_no_gradient_flows_back_through_time(overrides):
    templates, search = encode_templates(), clips()[2].astype(np.float32) / 128

    def last_frame(search):
        features, _ = small(**overrides).apply(variables(), templates, search, method="encode_clip")
        return jnp.square(features[:, -1]).sum()

    gradient = jax.jit(jax.grad(last_frame))(search)
    assert not gradient[:, :-1].any()
    assert np.abs(gradient[:, -1]).max() > 0
