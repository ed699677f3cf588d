"""The step by the definition, for a policy and for the centre map, whose height is the score."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.errors import UserError
from relo_jax.eval.results.write import ResultFolder, fingerprint
from relo_jax.mdp.action import decode_boxes
from relo_jax.model import RELO
from relo_jax.tracking import confidence, programs, step, tracker

FIELDS = dict(width=32, depth=1, heads=2, head_width=16, search_size=64, template_size=32, localizer="heatmap")
ADDED = ("localizer", "propagation", "remat_policy")  # fields that the first results did not have
BOX = (100.0, 80.0, 40.0, 30.0)
WEIGHTS = dict(zip(confidence.FIELDS, (-3.0, 0.2, 2.0, 1.5, 1.0), strict=True))
IN_TEMPLATE = np.float32([[0.3, 0.25, 0.5, 0.4], [0.2, 0.3, 0.4, 0.5]])


@pytest.fixture(scope="module")
def model():
    return RELO.from_variant("tiny", **FIELDS)


@pytest.fixture(scope="module")
def variables(model):
    """Random ones; made by numpy, so that nothing is compiled for them."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var", "gamma1", "gamma2"):
            return np.ones(leaf.shape, np.float32)
        spread = 0.1 if leaf.ndim == 1 else 1.6 * np.prod(leaf.shape[:-1]) ** -0.5
        return np.float32(rng.normal(0, spread, leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, abstract_variables(model))


@pytest.fixture(scope="module")
def run(model, variables, tmp_path_factory):
    """A run directory as the warm-up leaves it."""
    path = tmp_path_factory.mktemp("runs") / "warmup"
    checkpoint.save_variables(path, model, variables, {"window_power": 1.0})
    run_directory.write_config(path, {**run_directory.read_config(path), "stage": "warmup"})
    return path


@pytest.fixture(scope="module")
def frames(natural_image):
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(3)]


def test_the_window_is_hanns_without_its_zeros():
    hann = np.hanning(18)[1:-1]
    np.testing.assert_allclose(step.hann_window(16, 1.5), np.outer(hann, hann).ravel() ** 1.5, rtol=1e-6)
    np.testing.assert_array_equal(step.hann_window(16, 0.0), np.ones(256, np.float32))


@pytest.mark.parametrize("localizer", ["policy", "heatmap"])
def test_the_policy_is_a_distribution_over_the_cells_of_each_video(localizer):
    config = RELO.from_variant("tiny", **{**FIELDS, "localizer": localizer}).config
    scores = np.random.default_rng(0).uniform(0.1, 3, (2, config.grid**2)).astype(np.float32)
    weights = scores if localizer == "heatmap" else np.exp(scores)
    policy = np.asarray(step.policy_of(jnp.asarray(scores), config))
    assert policy.shape == (2, config.grid, config.grid)
    for video in range(2):
        np.testing.assert_allclose(policy[video].ravel(), weights[video] / weights[video].sum(), rtol=1e-5)


def test_the_steps_of_a_policy_are_its_greedy_choices_under_the_window(variables, frames):
    """Two frames, each by the definition, calibrated and not; the second template comes between them."""
    model = RELO.from_variant("tiny", **{**FIELDS, "localizer": "policy", "templates": 2})
    crops = np.stack([[frame[50:114, 60:124], frame[100:164, 90:154]] for frame in frames])
    views = crops[[0, 2], :, 16:48, 16:48]
    network = functools.partial(jax.jit(model.apply, static_argnames="method"), variables)
    ours = {f: jax.jit(f, static_argnums=0) for f in (step.read_policy, step.replace_template, step.step)}
    kinds = variables, confidence.with_weights(variables, WEIGHTS)
    states = [jax.jit(step.init_state, static_argnums=(0, 4))(model, k, views[0], IN_TEMPLATE, 1.0) for k in kinds]
    slots, later = (network(view[:, None], IN_TEMPLATE[:, None], method="encode_templates") for view in views)
    slots, tokens = jnp.tile(slots, (1, 2, 1)), model.initial_tokens(2)
    for t in range(2):
        features, tokens = network(slots, crops[t], tokens, np.full(2, t == 0), method="frame")
        logits, value = (network(features, method=head) for head in ("policy_logits", "value"))
        looked = ours[step.read_policy](model, variables, states[0], crops[t])
        np.testing.assert_allclose(looked[0], logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(looked[1], value, rtol=1e-4, atol=1e-5)
        action = jnp.argmax(logits * states[0].window, 1)
        box = decode_boxes(*network(features, method="boxes"), action)
        if t == 0:
            reference = confidence.appearance_at(features, action)
        evidence = confidence.gather(logits, value, features, reference, box, action, 4)
        scores = confidence.local_probability(logits, action, 4), confidence.probability(evidence, WEIGHTS)
        for k, kind in enumerate(kinds):
            np.testing.assert_allclose(states[k].templates, slots, rtol=1e-4, atol=1e-5)
            states[k], seen = ours[step.step](model, kind, states[k], crops[t])
            response = (logits * states[k].window).max(1)
            expected = step.StepResult(box, response, scores[k], evidence if k else None, logits)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), seen, expected)
            states[k] = ours[step.replace_template](model, kind, states[k], views[1], IN_TEMPLATE)
        slots = jnp.concatenate([slots[:, : later.shape[1]], later], 1)


def test_the_step_goes_where_centre_map_times_window_is_highest(model, variables, frames):
    crops = np.stack([frames[0][50:114, 60:124], frames[1][100:164, 90:154]])
    view = crops[:, :32, :32], np.full((2, 4), 0.3), np.float32([BOX] * 2), np.zeros((2, 3), np.int32)
    state = programs.begin(model, variables, *view, window_power=1.0).state
    _, seen = jax.jit(step.step, static_argnums=0)(model, variables, state, crops)
    logits, value = jax.jit(step.read_policy, static_argnums=(0, 4))(model, variables, state, crops, False)

    @jax.jit
    def by_hand(state):
        features, _ = model.apply(variables, state.templates, crops, state.tokens, state.first, method="frame")
        return model.apply(variables, features, method="center"), *model.apply(variables, features, method="boxes")

    center, size, offset = by_hand(state)
    center = np.reshape(center, (2, 16))
    response = center * step.hann_window(4, 1.0)
    action = response.argmax(1)
    np.testing.assert_allclose(seen.score, center[[0, 1], action], rtol=1e-5)
    np.testing.assert_allclose(seen.response, response.max(1), rtol=1e-5)
    np.testing.assert_allclose(logits, np.log(center), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen.box_cxcywh_norm, decode_boxes(size, offset, jnp.asarray(action)), atol=1e-5)
    assert seen.evidence is value is None and not np.allclose(seen.score, seen.response)


def test_a_warm_up_tracks_by_its_centre_map(run, frames):
    tracked = tracker.Tracker.from_pretrained(run)
    tracked.init(frames[0], BOX)
    results = [tracked.update(frame) for frame in frames[1:]]
    assert all(0 < result.score < 1 and np.isfinite(result.box).all() for result in results)
    assert not tracked.calibrated


def test_a_map_that_was_never_trained_does_not_track(run, model, variables, tmp_path):
    stats = {
        **variables["batch_stats"],
        "regression": jax.tree.map(np.zeros_like, variables["batch_stats"]["regression"]),
    }
    checkpoint.save_variables(tmp_path / "paper", model, {**variables, "batch_stats": stats}, {})
    with pytest.raises(UserError, match=r"paper localises by its centre map, which was never trained: train it with"):
        checkpoint.load_tracker(tmp_path / "paper")


def test_a_heat_map_has_no_weights_of_a_policys_evidence(model, variables):
    with pytest.raises(UserError, match="this model localises by its centre map, whose height is the score"):
        tracker.Tracker(model, variables, {"score_value": 1.0})


def test_results_from_before_there_was_a_choice_go_on_with_the_default_alone(variables, tmp_path):
    policy = RELO.from_variant("tiny", **{**FIELDS, "localizer": "policy"})
    made_by = fingerprint(policy, variables, {})
    older = {name: value for name, value in made_by["model"].items() if name not in ADDED}
    ResultFolder(tmp_path / "results", {**made_by, "model": older})
    ResultFolder(tmp_path / "results", made_by)
    with pytest.raises(UserError, match="model.localizer was policy, is heatmap"):
        ResultFolder(tmp_path / "results", fingerprint(RELO.from_variant("tiny", **FIELDS), variables, {}))
