"""The score: a probability from evidence, the same number however one tracks, and as it was where nothing is fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.lockstep import Lockstep
from relo_jax.mdp.action import decode_boxes
from relo_jax.model import RELO
from relo_jax.tracking import confidence, follow, programs, step, tracker
from relo_jax.tracking.options import checked_options

SMALL = dict(width=32, depth=1, heads=2, head_width=16, search_size=64, template_size=32)
WEIGHTS = dict(
    score_bias=-3.0,
    score_local_probability=0.2,
    score_value=2.0,
    score_appearance_similarity=1.5,
    score_center_proximity=1.0,
)
BOX = (100.0, 80.0, 40.0, 30.0)


@pytest.fixture(scope="module")
def model():
    return RELO.from_variant("tiny", **SMALL)


@pytest.fixture(scope="module")
def variables(model):
    """Random ones; made by numpy, so that nothing is compiled for them."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("bias", "mean"):
            return np.zeros(leaf.shape, np.float32)
        if name in ("scale", "var", "gamma1", "gamma2"):
            return np.ones(leaf.shape, np.float32)
        loud = 1.6 if path[1].key in ("policy", "value") else 1.0
        return np.float32(rng.normal(0, loud / max(1, np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, abstract_variables(model))


@pytest.fixture(scope="module")
def frames(natural_image):
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(9)]


@pytest.fixture(scope="module")
def calibrated(model, variables):
    return tracker.Tracker(model, variables, WEIGHTS)


def scores(tracked, frames, chunk=None):
    return [result.score for _, result in follow.follow(tracked, frames, BOX, chunk)]


def test_the_probability_by_hand():
    evidence = np.array([[1.0, 0.5, 0.8, 0.9], [-14.0, 0.0, 0.0, 0.3]])
    logit = -3 + 0.2 * evidence[:, 0] + 2 * evidence[:, 1] + 1.5 * evidence[:, 2] + evidence[:, 3]
    np.testing.assert_allclose(confidence.probability(evidence, WEIGHTS), 1 / (1 + np.exp(-logit)), atol=1e-6)
    assert (
        confidence.probability(np.array([1e3, 0, 0, 0]), WEIGHTS) == 1
        and confidence.probability(-evidence * 1e3, WEIGHTS)[0] == 0
    )


def test_more_of_any_evidence_never_lowers_it():
    rng = np.random.default_rng(0)
    for _ in range(50):
        weights = dict(zip(confidence.FIELDS, [rng.normal(0, 5), *rng.exponential(2, 4)], strict=True))
        evidence = rng.normal(0, 2, 4)
        more = evidence + np.eye(4) * rng.exponential(1, 4)
        lower = confidence.probability(evidence, weights) - 1e-6  # what a float32 exponential may be wrong by
        assert (np.asarray(confidence.probability(more, weights)) >= lower).all()


def test_without_a_fit_it_is_the_mass():
    """The log-odds of the evidence are those of `local_probability`, and the default weights leave them as they are."""
    logits = jax.random.normal(jax.random.key(1), (20, 16)) * jnp.linspace(0.1, 4, 20)[:, None]
    action, box = jnp.arange(20) % 16, jnp.full((20, 4), 0.5)
    features, reference = jnp.ones((20, 16, 3)), jnp.ones((20, 3))
    evidence = jax.jit(confidence.gather, static_argnums=6)(logits, jnp.zeros(20), features, reference, box, action, 4)
    mass = jax.jit(confidence.local_probability, static_argnums=2)(logits, action, 4)
    np.testing.assert_allclose(confidence.probability(evidence, confidence.UNCALIBRATED), mass, atol=1e-5)
    assert relo_config.base().tracker.to_dict().items() >= confidence.UNCALIBRATED.items()
    assert not confidence.is_calibrated(relo_config.base().tracker) and not confidence.is_calibrated({})
    assert confidence.is_calibrated({"score_bias": 0.1})


def test_the_evidence_by_hand(model, variables, frames):
    """Two frames: what the first one's answer looked like is what the second is compared with."""
    crops = np.stack([frame[50:114, 60:124] for frame in frames])
    view = crops[:1, :32, :32], np.full((1, 4), 0.3), np.float32([BOX]), np.zeros((1, 3), np.int32)
    state = programs.begin(model, variables, *view, window_power=1.0).state
    with_weights = confidence.with_weights(variables, checked_options(WEIGHTS, model))
    one_step = jax.jit(step.step, static_argnums=0)
    first, seen_first = one_step(model, with_weights, state, crops[:1])
    _, seen = one_step(model, with_weights, first, crops[3:4])

    @jax.jit
    def by_hand(state, crop):
        features, _ = model.apply(variables, state.templates, crop, state.tokens, state.first, method="frame")
        logits = model.apply(variables, features, method="policy_logits")[0]
        action = jnp.argmax(logits * state.window[0])
        size, offset = (x[0] for x in model.apply(variables, features, method="boxes"))
        value = model.apply(variables, features, method="value")[0]
        return features[0], logits, value, action, decode_boxes(size, offset, action)

    (before, _, _, at, _), (features, logits, value, action, box) = (
        by_hand(state, crops[:1]),
        by_hand(first, crops[3:4]),
    )
    near = np.hypot(*(np.abs(np.stack(divmod(np.arange(16), 4)) - np.stack(divmod(int(action), 4))[:, None]))) < 1.5
    odds = np.exp(np.float64(logits))[near].sum() / np.exp(np.float64(logits))[~near].sum()
    cosine = features @ before[at] / (np.linalg.norm(features, axis=-1) * np.linalg.norm(before[at]))
    expected = [np.log(odds), value, cosine[near].max(), 1 - np.hypot(*(box[:2] - 0.5))]
    np.testing.assert_allclose(seen.evidence[0], expected, atol=1e-4)
    np.testing.assert_allclose(seen.score, confidence.probability(seen.evidence, WEIGHTS), atol=1e-6)
    assert seen_first.evidence[0, 2] == pytest.approx(1, abs=1e-5)


def test_a_frame_a_chunk_and_lockstep_say_the_same(model, variables, calibrated, frames):
    one_by_one = scores(calibrated, frames)
    assert one_by_one[0] == 1 and np.std(one_by_one[1:]) > 1e-4 and min(one_by_one) > 0
    np.testing.assert_allclose(scores(calibrated, frames, chunk=4), one_by_one, atol=1e-5)
    boxes = np.tile(BOX, (len(frames), 1))
    sequence = Sequence("pan", boxes, np.ones(len(frames), bool), frames.__getitem__)
    (tracked,) = Lockstep(model, variables, WEIGHTS, batch=2).run([sequence])
    np.testing.assert_allclose(tracked.scores, one_by_one, atol=1e-5)
    np.testing.assert_allclose(confidence.probability(tracked.evidence[1:], WEIGHTS), one_by_one[1:], atol=1e-5)
    assert np.isnan(tracked.evidence[0]).all()


def test_found_changes_when_several_scores_in_a_row_are_on_the_other_side():
    low_once, gone = [0.9, 0.2, 0.8, 0.9, 0.9], [0.3, 0.1, 0.4, 0.2]
    seen = [0.2, 0.9, 0.3, 0.8, 0.8, 0.7]
    levels = confidence.levels(np.array(low_once + gone + seen), 3)
    found = [True] * 5 + [True, True, False, False] + [False] * 5 + [True]
    assert (levels >= 0.5).tolist() == found
    np.testing.assert_array_equal(confidence.levels(np.array(seen), 1), seen)
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    for threshold in (0.3, 0.5, 0.8):  # by counting
        state, run, expected = True, 0, []
        for high in scores >= threshold:
            run = run + 1 if high != state else 0
            state, run = (not state, 0) if run == 3 else (state, run)
            expected.append(state)
        np.testing.assert_array_equal(confidence.levels(scores, 3) >= threshold, expected)


def test_however_it_is_tracked_found_is_the_same(model, variables, calibrated, frames):
    seen = scores(calibrated, frames)[1:]
    options = {**WEIGHTS, "found_frames": 2, "found_threshold": sorted(seen)[len(seen) // 2]}
    expected = (confidence.levels(np.array(seen), 2) >= options["found_threshold"]).tolist()
    assert {True, False} == set(expected)
    one, two = tracker.Tracker(model, variables, options), tracker.MultiTracker(model, variables, 2, options)
    for chunk in (None, 4):
        assert [result.found for _, result in follow.follow(one, frames, BOX, chunk)][1:] == expected
        assert [result[1].found for _, result in follow.follow(two, frames, [BOX, BOX], chunk)][1:] == expected
    two.init(frames[0], [BOX, BOX])
    late = [two.update_chunk(frames[1:5]), two.update_chunk(frames[5:])]
    two.init_one(1, frames[0], BOX)  # what was under way keeps its answers
    assert [result[1].found for of in late for result in of()] == expected and two.update(frames[1])[1].found


def test_the_boxes_know_nothing_of_it_and_other_weights_compile_nothing(model, variables, calibrated, frames):
    boxes = [result.box for _, result in follow.follow(calibrated, frames, BOX)]
    plain = tracker.Tracker(model, variables)
    np.testing.assert_allclose([r.box for _, r in follow.follow(plain, frames, BOX)], boxes, rtol=0, atol=1e-4)
    before = programs.track_crop._cache_size()
    other = tracker.Tracker(model, variables, {**WEIGHTS, "score_bias": 2.0})
    assert np.subtract(scores(other, frames), scores(calibrated, frames))[1:].min() > 0
    assert programs.track_crop._cache_size() == before


def test_the_weights_travel_with_the_checkpoint(model, variables, frames, tmp_path):
    options = {"window_power": 1.0, "found_threshold": 0.7, **WEIGHTS}
    checkpoint.save_variables(tmp_path / "run", model, variables, options)
    checkpoint.export_starter(variables, model, tmp_path / "run.msgpack", options)
    for path in ("run", "run.msgpack"):
        loaded = checkpoint.load(tmp_path / path)
        assert loaded.config["tracker"] == options
        assert checked_options(loaded.config["tracker"], loaded.model).items() >= options.items()
    config = relo_config.to_dict(relo_config.base())
    config["tracker"].update(WEIGHTS)
    assert relo_config.from_dict(config).tracker.score_bias == -3.0


@pytest.mark.parametrize("name", confidence.FIELDS[1:])
def test_a_weight_below_zero_is_one_line(model, name):
    with pytest.raises(UserError, match=f"{name} is -0.1: a weight of the score must not be negative"):
        checked_options({name: -0.1}, model)
    config = relo_config.to_dict(relo_config.base())
    config["tracker"][name] = -0.1
    with pytest.raises(UserError, match=name):
        relo_config.from_dict(config)


def test_the_fields_are_those_of_the_config():
    fields = [name for name in relo_config.base().tracker if name.startswith("score_")]
    assert set(fields) == set(confidence.FIELDS)
