"""What `look` says: the policy over the search region, and the same boxes whether somebody looks or not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relo_jax
from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.geometry.crop import SEARCH_FACTOR, crop_host, crop_window
from relo_jax.media import video
from relo_jax.model import platform
from relo_jax.model.inference import FOLDED
from relo_jax.tracking import follow, tracker
from relo_jax.tracking.session import track_to_files
from relo_jax.tracking.step import init_state

BOXES = [(100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0)]
OPTIONS = {"window_power": 1.0, "update_interval": 2, "update_threshold": -999.0}


@pytest.fixture(scope="module")
def one(model, variables):
    return tracker.Tracker(model, variables, OPTIONS)


@pytest.fixture(scope="module")
def saved(model, variables, tmp_path_factory):
    """A run directory with the golden weights."""
    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, model, variables, OPTIONS)
    return path


@pytest.fixture(scope="module")
def frames(natural_image):
    """Six frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(6)]


@pytest.fixture(scope="module")
def results(one, frames):
    one.init(frames[0], BOXES[0])
    return [one.update(frame) for frame in frames[1:]]


def test_the_track_is_the_same_whether_somebody_looks_or_not(one, frames, results):
    one.init(frames[0], BOXES[0])
    looked = [(one.look if t % 2 else one.update)(frame) for t, frame in enumerate(frames[1:])]
    assert [(r.box, r.score, r.response) for r in looked] == [(r.box, r.score, r.response) for r in results]
    assert [hasattr(r, "policy") for r in looked] == [False, True, False, True, False]


def test_a_look_has_the_policy_of_the_network_over_the_search_region(one, model, variables, frames):
    one.init(frames[0], BOXES[0])
    before, look = one.look(frames[1]), one.look(frames[2])
    template, factor = crop_host(frames[0], BOXES[0], 2.0, model.config.template_size)
    half = 0.5 * factor * np.array(BOXES[0][2:]) / (model.config.template_size - 1)
    begin = jax.jit(init_state, static_argnames=("model", "window_power"))
    box = np.array([[*(0.5 - half), *(2 * half)]], np.float32)
    state = begin(model, variables, template[None], box, window_power=1.0)

    @jax.jit
    def outputs(crop, tokens, first):
        apply = lambda method, *args: model.apply(variables, *args, method=method)
        features, tokens = apply("frame", state.templates, crop[None], tokens, first)
        return tokens, jax.nn.softmax(apply("policy_logits", features))[0], apply("value", features)[0]

    cut = lambda frame, box: crop_host(frame, box, SEARCH_FACTOR, model.config.search_size)[0]
    tokens, policy, _ = outputs(cut(frames[1], BOXES[0]), state.tokens, state.first)
    np.testing.assert_allclose(before.policy.ravel(), policy, rtol=1e-4)
    _, policy, value = outputs(cut(frames[2], before.box), tokens, ~state.first)
    np.testing.assert_allclose(look.policy.ravel(), policy, rtol=1e-4)
    assert look.value == pytest.approx(float(value), abs=1e-4)
    assert look.entropy == pytest.approx(-float(np.sum(policy * np.log(policy))), abs=1e-4)
    assert look.policy.dtype == np.float32 and look.policy.sum() == pytest.approx(1, abs=1e-5)
    x, y, side = crop_window(before.box, SEARCH_FACTOR)
    assert look.region == (x, y, side, side)
    np.testing.assert_array_equal(look.window.ravel(), state.window[0])


def test_the_form_for_accelerators_looks_alike(one, model, variables, frames, monkeypatch):
    folded_row = dataclasses.replace(platform.BY_PLATFORM["cpu"], folded=True)
    monkeypatch.setitem(platform.BY_PLATFORM, "cpu", folded_row)
    two = tracker.MultiTracker(model, variables, 2, OPTIONS, device_crops=True)
    assert FOLDED in two._engine.variables
    two.init(frames[0], BOXES)
    one.init(frames[0], BOXES[0])
    for frame in frames[1:3]:
        (folded, other), stacked = two.look(frame), one.look(frame)
        np.testing.assert_allclose(folded.policy, stacked.policy, rtol=1e-3)
        np.testing.assert_allclose([folded.value, folded.entropy], [stacked.value, stacked.entropy], atol=1e-3)
        np.testing.assert_allclose(folded.box, stacked.box, atol=0.01)
        assert folded.region == stacked.region != other.region
        assert not np.allclose(other.policy, stacked.policy, rtol=1e-2)  # each target has its own


def test_a_value_head_without_training_has_no_value(model, variables, frames):
    stats = {**variables["batch_stats"], "value": jax.tree.map(jnp.zeros_like, variables["batch_stats"]["value"])}
    untrained = tracker.Tracker(model, {**variables, "batch_stats": stats}, OPTIONS)
    with pytest.raises(UserError, match=r"Tracker\.look was called before Tracker\.init"):
        untrained.look(frames[0])
    untrained.init(frames[0], BOXES[0])
    assert untrained.look(frames[1]).value is None


def test_a_video_is_looked_at_frame_by_frame(one, frames, results):
    _, *looked = [result for _, result in follow.follow(one, frames, BOXES[0], look=True)]
    assert [look.box for look in looked] == [result.box for result in results]
    assert all(look.policy.sum() == pytest.approx(1, abs=1e-5) for look in looked)
    with pytest.raises(UserError, match="frame by frame"):
        next(follow.follow(one, frames, BOXES[0], chunk=2, look=True))


def pixels(path):
    with video.open_frames(path) as frames:
        return np.stack(list(frames)).astype(int)


def test_films_show_where_the_policy_looks(saved, frames, tmp_path, capsys):
    plain, looked, whole = (tmp_path / name for name in ("plain.mp4", "looked.mp4", "whole.mp4"))
    relo_jax.render(frames, BOXES[0], saved, heatmap=False, progress=False).save(plain)
    film = relo_jax.render(frames, BOXES[0], saved, progress=False)
    assert (film.frames, film.size) == (len(frames), frames[0].shape[1::-1]) and film._repr_html_().startswith("<video")
    film.save(looked)
    difference = np.abs(pixels(looked) - pixels(plain)).mean((1, 2, 3))
    assert 1.5 * difference[0] < difference[1:].min()  # the first box was given, not looked for
    track_to_files(frames, BOXES[0], saved, whole, chunk=2, heatmap=True)
    assert "--chunk cannot go with --heatmap" in capsys.readouterr().err
    assert np.abs(pixels(whole) - pixels(looked)).mean() < 0.5 * difference[1:].min()
    with pytest.raises(UserError, match="^frames has no frames$"):
        relo_jax.render([], BOXES[0], saved, progress=False)
    with pytest.raises(UserError, match="give --save"):
        track_to_files(frames, BOXES[0], saved, heatmap=True)
