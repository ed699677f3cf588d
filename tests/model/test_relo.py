"""The network: two equal ways through time, what is trained and what is skipped, sizes of the variants."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables, model_config, model_from_config
from relo_jax.model.fast_itpn import Block, foreground_share
from relo_jax.model.layers import BatchNorm, drop_path
from relo_jax.model.temporal import PROPAGATION
from relo_jax.profiling.flops import matmul_flops
from relo_jax.tracking.step import init_state, step

SMALL = dict(width=32, heads=2, depth=3, head_width=16, templates=2, search_size=64, template_size=32)
CLIPS, FRAMES = 2, 3


@functools.cache
def small(**overrides):
    return RELO.from_variant("tiny", **SMALL, **overrides)


@functools.cache
def variables():
    """Weights of the small model, shaken so that nothing is symmetric or zero."""
    rng = np.random.default_rng(0)
    fresh = jax.device_get(fresh_variables())
    return jax.tree.map(lambda x: np.asarray(x + 0.03 * np.abs(rng.normal(size=x.shape)), np.float32), fresh)


@functools.cache
def fresh_variables():
    return init_variables(small(), jax.random.key(0))


@functools.cache
def compiled(method, **overrides):
    """A method of the small model, jitted: without, every operation of it would be compiled by itself."""
    return jax.jit(functools.partial(small(**overrides).apply, method=method))


def encode_templates():
    images, boxes, _ = clips()
    return compiled("encode_templates")(variables(), images, boxes)


@functools.cache
def clips():
    rng = np.random.default_rng(0)
    return (
        rng.integers(0, 256, (CLIPS, 2, 32, 32, 3), dtype=np.uint8),
        np.asarray([[[0.2, 0.3, 0.5, 0.4], [0.25, 0.25, 0.5, 0.5]]] * CLIPS, np.float32),
        rng.integers(0, 256, (CLIPS, FRAMES, 64, 64, 3), dtype=np.uint8),
    )


def run_clip(model, values, train=False, **kwargs):
    def forward(values, images, boxes, search):
        templates = model.apply(values, images, boxes, method="encode_templates")
        return templates, model.apply(values, templates, search, train=train, method="clip", **kwargs)

    return jax.jit(forward)(values, *clips())


@functools.cache
def reference():
    return run_clip(small(), variables(), with_center=True)


@functools.cache
def encoded(propagation):
    """Features and tokens of the clips."""
    return compiled("encode_clip", propagation=propagation)(variables(), encode_templates(), clips()[2])


@pytest.mark.parametrize("propagation", PROPAGATION)
def test_the_clip_path_equals_the_frame_path(propagation):
    templates, search = encode_templates(), clips()[2]
    clip_features, clip_tokens = encoded(propagation)
    # What is carried into the first frame must not matter.
    rows = 1 if propagation == "deep_to_shallow" else 3
    tokens, first = np.full((rows, CLIPS, 2, 32), 100.0, np.float32), np.ones(CLIPS, bool)
    frame = compiled("frame", propagation=propagation)
    for t in range(FRAMES):
        features, tokens = frame(variables(), templates, search[:, t], tokens, first)
        np.testing.assert_allclose(features, clip_features[:, t], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(tokens, clip_tokens[:, :, t], rtol=1e-5, atol=1e-5)
        first = np.zeros(CLIPS, bool)


@pytest.mark.parametrize("propagation", PROPAGATION)
def test_a_clip_that_nobody_differentiates_has_the_same_features_and_tokens(propagation):
    encode = functools.partial(small(propagation=propagation).apply, no_gradient=True, method="encode_clip")
    found = jax.jit(encode)(variables(), encode_templates(), clips()[2])
    for lean, whole in zip(found, encoded(propagation), strict=True):
        np.testing.assert_allclose(lean, whole, rtol=1e-5, atol=1e-5)


def test_only_what_a_first_frame_hands_on_tells_the_propagations_apart():
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
    """By hand, frame by frame. It takes three to see which tokens: in the first, P and T are equal."""
    model = small()
    values = variables()["params"]["encoder"]
    block = Block(model.heads, 2, model.layer_scale, propagation="deep_to_shallow")
    own = jnp.broadcast_to(values["ttokens"] + values["pos_embed_ttoken"], (CLIPS, 1, 2, 32))

    @jax.jit
    def one_frame(images, templates, previous):
        x = model.apply(variables(), images[:, None], method=lambda module, images: module.encoder.stem(images))
        x = x + values["pos_embed"][:16] + values["search_token"]
        x = jnp.concatenate([x, templates[:, None], previous, own], axis=2)
        through = lambda x, parameters: (block.apply({"params": parameters}, x, (0.0, None), None, False)[0], None)
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


def test_remat_changes_memory_not_numbers():
    """The less of a block is stored, the more of it is computed twice: all, what is no linear layer, nothing."""
    numbers, memory, flops = {}, {}, {}
    for policy in ("nothing", "dots", None):
        model = small(remat=True, remat_policy=policy) if policy else small()

        def loss(values, images, boxes, search, model=model):
            templates = model.apply(values, images, boxes, method="encode_templates")
            return jnp.square(model.apply(values, templates, search, method="encode_clip")[0]).sum()

        step = jax.jit(jax.value_and_grad(loss))
        compiled_step = step.lower(variables(), *clips()).compile()
        numbers[policy] = compiled_step(variables(), *clips())
        memory[policy] = compiled_step.memory_analysis().temp_size_in_bytes
        flops[policy] = matmul_flops(step, variables(), *clips())
    close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-3)
    for policy in ("nothing", "dots"):
        jax.tree.map(close, numbers[policy], numbers[None])
    assert memory["nothing"] < 0.95 * memory["dots"] and memory["dots"] < 0.9 * memory[None]
    assert flops["nothing"] > flops["dots"] > flops[None]


def test_remat_of_a_config_from_before_it_had_a_policy_stores_nothing():
    older = {k: v for k, v in model_config(small(remat=True)).items() if k != "remat_policy"}
    assert model_from_config(older) == small(remat=True) == small(remat=True, remat_policy="nothing")


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


def test_batch_norm_keeps_pytorchs_unbiased_running_variance():
    x = np.random.default_rng(0).normal(3, 2, (4, 5, 6)).astype(np.float32)
    norm = BatchNorm()
    values = jax.jit(norm.init, static_argnums=2)(jax.random.key(0), x, False)
    out, updated = norm.apply(values, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(out, (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * x.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * x.var((0, 1), ddof=1), rtol=1e-5)


def test_drop_path_drops_whole_frames_and_keeps_the_mean():
    x = jnp.ones((100, 50, 3, 2))
    out = np.asarray(drop_path(x, 0.25, jax.random.key(0)))
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (out == out[:, :, :1, :1]).all()
    assert abs(out.mean() - 1) < 0.05


def test_drop_path_is_active_in_training_only_and_different_in_every_layer():
    model = small(drop_path=0.9)
    plain, again = (run_clip(model, variables())[1].features for _ in range(2))
    np.testing.assert_array_equal(plain, again)
    draw = lambda seed: run_clip(model, variables(), train=True, rngs={"drop_path": jax.random.key(seed)})[1]
    first, second = draw(0), draw(1)
    assert np.abs(first.features - second.features).max() > 1e-2
    # A frame whose branches were all dropped at one layer keeps its tokens there: not at the same layer for all.
    kept = np.asarray((first.tokens[1:] == first.tokens[:-1]).all((-1, -2)))
    assert kept.any() and not kept.all() and (kept[0] != kept[1]).any()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), [1, 1, 1, 1]),
        ((0.0, 0.0, 0.5, 0.5), [1, 0, 0, 0]),
        ((0.25, 0.0, 0.5, 1.0), [0.5, 0.5, 0.5, 0.5]),
        ((0.5, 0.75, 0.25, 0.25), [0, 0, 0, 0.25]),
        # 0.1 * 32 = 3.2: the first pixel inside is 4, the last below 3.2 + 3.2 = 6.4 is 6.
        ((0.1, 0.0, 0.1, 1.0), [3 / 16, 0, 3 / 16, 0]),
    ],
)
def test_the_foreground_share_counts_pixels(box, expected):
    np.testing.assert_allclose(foreground_share(jnp.asarray(box, jnp.float32), 32), expected, atol=1e-6)


def test_the_tracking_path_computes_neither_value_nor_centre_map(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("computed while tracking")

    for method in ("value", "center"):
        monkeypatch.setattr(RELO, method, never)
    images, boxes, search = clips()
    state = jax.eval_shape(lambda: init_state(small(), variables(), images[:, 0], boxes[:, 0], 1.0))
    moved, result = jax.eval_shape(lambda s: step(small(), variables(), s, search[:, 0]), state)
    assert moved.tokens.shape == state.tokens.shape and result.score.shape == (CLIPS,)
    with pytest.raises(AssertionError, match="while tracking"):
        run_clip(small(), variables())


def test_the_box_at_a_cell_is_that_of_the_maps():
    """In the middle, at borders and in corners, where the towers' padding shows."""
    model, side = small(), small().grid
    features = jax.random.normal(jax.random.key(3), (side * side, side * side, model.width))
    action = jnp.arange(side * side)
    whole = jax.jit(lambda v: model.apply(v, features, method="boxes"))(variables())
    cell = jax.jit(lambda v: model.apply(v, features, action, method="box_at"))(variables())
    for maps, one in zip(whole, cell, strict=True):
        at = maps.reshape(side * side, side * side, 2)[action, action]
        np.testing.assert_allclose(one, at, atol=1e-5)
        assert np.ptp(at) > 0


def test_comparing_initialisation_ties_query_and_key_at_the_start_only():
    attention = fresh_variables()["params"]["encoder"]["blocks"]["attn"]
    np.testing.assert_array_equal(attention["q_proj"]["kernel"], attention["k_proj"]["kernel"])
    released = init_variables(small(init_scheme="release"), jax.random.key(0))["params"]["encoder"]
    attention = released["blocks"]["attn"]
    assert (attention["q_proj"]["kernel"] != attention["k_proj"]["kernel"]).any()
    assert not released["search_token"].any()


def test_a_model_is_its_config():
    other = small(propagation="none", localizer="heatmap")
    assert model_from_config(model_config(small())) == small() != model_from_config(model_config(other)) == other


def test_a_model_saved_before_there_was_a_choice_is_the_papers():
    older = {k: v for k, v in model_config(small()).items() if k not in ("propagation", "localizer")}
    assert model_from_config(older) == small(propagation="layer_aligned", localizer="policy")


@pytest.mark.parametrize(
    ("variant", "overrides", "message"),
    [
        ("t265", {}, "did you mean 't256'"),
        ("t256", {"dpeth": 3}, "did you mean 'depth'"),
        ("t256", {"heads": 0}, "heads is 0"),
        ("t256", {"heads": 5}, "width is 384"),
        ("t256", {"search_size": 100}, "multiple of 16"),
        ("t256", {"drop_path": 1.0}, "drop_path is 1.0"),
        ("t256", {"propagation": "deep"}, r"propagation is 'deep' \(known: layer_aligned"),
        ("t256", {"localizer": "heat-map"}, "did you mean 'heatmap'"),
        ("t256", {"dtype": "float46"}, "did you mean 'float16'"),
        ("t256", {"init_scheme": "similar"}, "did you mean 'similarity'"),
        ("t256", {"stem_blocks": "(1,"}, r"stem_blocks is '\(1,', expected two integers"),
        ("t256", {"stem_blocks": (1, 2, 3)}, "expected two integers"),
        ("t256", {"drop_path": "none"}, "drop_path is 'none', expected a share"),
        ("t256", {"head_width": 0}, "head_width is 0, expected a positive integer"),
        ("t256", {"layer_scale": "small"}, "layer_scale is 'small', expected a number"),
        ("t256", {"remat": "yes"}, "remat is 'yes', expected True or False"),
        ("t256", {"remat": True, "remat_policy": "dot"}, "did you mean 'dots'"),
        ("t256", {"remat_policy": "dots"}, "remat_policy is 'dots', and nothing reads it without remat=True"),
    ],
)
def test_names_and_values_that_make_no_model_are_refused(variant, overrides, message):
    with pytest.raises(UserError, match=message):
        RELO.from_variant(variant, **overrides)
