"""The folded network computes what the stacked model computes."""

import contextlib
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.model import inference, platform
from relo_jax.model.folding import fold
from relo_jax.model.temporal import carried_rows
from relo_jax.tracking import programs, step
from relo_jax.tracking.tracker import Tracker
from tests.model import small

TOLERANCE = 2e-5  # of float32, relative to the largest value; the order of operations differs
FIRST = np.array([True, False])


def outputs(network, tokens):
    """What tracking asks of a network, for two targets at the second of which a frame came before."""
    images, boxes, search = small.clips()
    templates = network.encode_templates(images, boxes)
    features, tokens = network.frame(templates, search[:, 1], tokens, FIRST)
    action = jnp.array([5, network.config.grid**2 - 1])  # one inside, one at the corner
    size, offset = network.box_at(features, action)
    return dict(
        templates=templates, features=features, tokens=tokens, logits=network.policy_logits(features),
        value=network.value(features), center=network.center(features), size=size, offset=offset,
    )  # fmt: skip


@contextlib.contextmanager
def choosing(**choices):
    """This CPU makes these choices of `platform.Choices`."""
    row = platform.BY_PLATFORM["cpu"]
    platform.BY_PLATFORM["cpu"] = dataclasses.replace(row, **choices)
    try:
        yield
    finally:
        platform.BY_PLATFORM["cpu"] = row


@functools.cache
def stacked(**fields):
    """The outputs of the small model; tokens without their mean."""
    model, tokens = small.small(**fields), carried(**fields)
    found = jax.jit(lambda values: model.apply(values, method=lambda network: outputs(network, tokens)))
    found = found(small.variables())
    return found | {name: centered(found[name]) for name in ("templates", "tokens")}


def folded(one_pass_variance=True, by_head=math.inf, **fields):
    """The outputs of the folded network on a platform with these choices."""
    config, tokens = small.small(**fields).config, carried(**fields)
    with choosing(one_pass_variance=one_pass_variance, by_head=by_head):
        return jax.jit(lambda folded: outputs(inference.Network(config, folded), tokens))(
            fold(config, small.variables())
        )


def carried(**fields):
    """Temporal tokens of a frame before."""
    config = small.small(**fields).config
    shape = (carried_rows(config), len(FIRST), config.temporal_tokens, config.width)
    return centered(jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32))


def centered(tokens):
    """Tokens as the folded network has them: without their mean, which no layer sees."""
    return tokens - tokens.mean(-1, keepdims=True)


def distance(x, y):
    """The largest difference, relative to the largest value."""
    x, y = (np.asarray(a, np.float32) for a in (x, y))
    return np.abs(x - y).max() / np.abs(x).max()


@pytest.mark.parametrize("propagation", ["layer_aligned", "deep_to_shallow", "none"])
def test_the_folded_network_equals_the_stacked_model(propagation):
    check(stacked(propagation=propagation), folded(propagation=propagation))


@pytest.mark.parametrize("choices", [dict(one_pass_variance=False), dict(by_head=0)], ids=str)
def test_no_choice_of_a_platform_changes_the_network(choices):
    check(stacked(propagation="layer_aligned"), folded(propagation="layer_aligned", **choices))


def check(reference, found):
    for name, expected in reference.items():
        assert expected.shape == found[name].shape, name
        assert np.ptp(expected) > 0, name
        assert distance(expected, found[name]) < TOLERANCE, name


def test_in_bfloat16_it_is_as_exact_as_the_stacked_model():
    reference, rounded, found = (
        stacked(propagation="layer_aligned"),
        stacked(dtype="bfloat16"),
        folded(dtype="bfloat16"),
    )
    for name, expected in reference.items():
        # Both round at every layer, in different places.
        assert distance(expected, found[name]) < 2 * distance(expected, rounded[name]) + 0.002, name


def test_heads_do_not_round_in_bfloat16():
    def heads(dtype):
        config = small.small(dtype=dtype).config
        network = inference.Network(config, fold(config, small.variables()))
        features = jax.random.normal(jax.random.key(2), (1, config.grid**2, config.width))
        return network.policy_logits(features), *network.box_at(features, jnp.array([5]))

    jax.tree.map(np.testing.assert_array_equal, heads("bfloat16"), heads("float32"))


def test_a_platform_chooses_the_form():
    model = small.small()
    values = inference.for_tracking(model, small.variables())
    assert list(values) == [inference.FOLDED]
    assert inference.for_tracking(model, values) is values
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(values))
    with choosing(folded=False):
        assert inference.for_tracking(model, small.variables()) is small.variables()


def test_a_tracker_gives_the_same_boxes_in_both_forms(natural_image):
    """With template updates and a calibrated score, which also reads the value and the features."""
    model, values = small.small(), small.variables()
    frames = [np.roll(natural_image, (2 * t, 3 * t), (0, 1)) for t in range(7)]
    options = dict(
        window_power=1.0, update_interval=2, update_threshold=-1e9, score_value=0.5, score_appearance_similarity=1.0
    )

    def run():
        tracker = Tracker(model, values, options)
        tracker.init(frames[0], (60, 50, 40, 30))
        return tracker, [(result.box, result.score) for result in map(tracker.update, frames[1:])]

    tracker, results = run()
    assert inference.FOLDED in tracker._engine.variables
    with choosing(folded=False):
        _, reference = run()
    for (box, score), (expected, expected_score) in zip(results, reference, strict=True):
        np.testing.assert_allclose(box, expected, atol=0.01)
        assert score == pytest.approx(expected_score, abs=1e-4)
    assert len({tuple(np.round(box, 2)) for box, _ in reference}) > 3  # the boxes move


def test_no_loop_is_left_in_the_compiled_frame():
    """On a GPU the host would launch each of its iterations."""
    model = small.small()
    config, folded = model.config, fold(model.config, small.variables())
    view = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 4), 0.3, np.float32), np.ones((1, 4), np.float32)
    values = {inference.FOLDED: folded}
    target = jax.eval_shape(
        lambda *x: programs.begin(model, values, *x, window_power=1.0), *view, np.ones((1, 3), np.int32)
    )
    jaxpr = jax.make_jaxpr(lambda state, crops: step.step(model, values, state, crops))(
        target.state, np.zeros((1, config.search_size, config.search_size, 3), np.uint8)
    )
    text = str(jaxpr)
    assert "dot_general" in text
    for loop in ("scan[", "while[", "conv_general_dilated"):
        assert loop not in text
