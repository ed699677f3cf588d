"""The network as a whole: shapes, dtypes, statistics that move, its start, and what tracking skips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.model import RELO
from relo_jax.tracking.step import init_state, step
from tests.model.small import CLIPS, FRAMES, clips, reference, run_clip, small, variables


def test_shapes_are_the_documented_ones():
    _, out = reference()
    cells, side = 16, 4
    assert out.features.shape == (CLIPS, FRAMES, cells, 32)
    assert out.policy_logits.shape == (CLIPS, FRAMES, cells)
    assert out.value.shape == (CLIPS, FRAMES)
    assert out.size.shape == out.offset.shape == (CLIPS, FRAMES, side, side, 2)
    assert out.tokens.shape == (3, CLIPS, FRAMES, 2, 32)
    assert out.center.shape == (CLIPS, FRAMES, side, side)
    assert run_clip(small(), variables())[1].center is None


def test_bfloat16_computes_in_bfloat16_on_float32_parameters():
    model = small(dtype="bfloat16")
    _, out = run_clip(model, variables())
    assert out.features.dtype == jnp.bfloat16 and out.policy_logits.dtype == out.size.dtype == jnp.float32
    _, exact = reference()
    error = np.abs(out.features.astype(np.float32) - exact.features).mean() / np.abs(exact.features).mean()
    assert 0 < error < 0.05


def test_batch_statistics_move_for_the_trained_heads_alone():
    _, (_, updated) = run_clip(small(), variables(), train_heads=("policy",), mutable=["batch_stats"])
    before, after = variables()["batch_stats"], updated["batch_stats"]
    for name in ("regression", "value"):
        jax.tree.map(np.testing.assert_array_equal, before[name], after[name])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before["policy"], after["policy"])
    assert all(jax.tree.leaves(moved))


def test_the_tracking_path_computes_neither_value_nor_centre_map(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("computed while tracking")

    for method in ("value", "center"):
        monkeypatch.setattr(RELO, method, never)
    images, boxes, search = clips()
    begin = lambda images, boxes: init_state(small(), variables(), images, boxes, 1.0)
    state = jax.eval_shape(begin, images[:, 0], boxes[:, 0])
    moved, result = jax.eval_shape(lambda s, crops: step(small(), variables(), s, crops), state, search[:, 0])
    assert moved.tokens.shape == state.tokens.shape and result.score.shape == (CLIPS,)
    with pytest.raises(AssertionError, match="while tracking"):
        run_clip(small(), variables())


def test_a_model_is_its_config():
    other = small(propagation="none", localizer="heatmap")
    assert RELO.from_config(small().config.to_dict()) == small() != RELO.from_config(other.config.to_dict()) == other
