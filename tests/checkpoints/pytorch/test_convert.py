"""A converted checkpoint gives the release's numbers, and every lost, unused or misshapen tensor is noticed.

`fixtures/relo_tiny.pth.tar` and `fixtures/forward_tiny.npz` (the first three of its four frames) come from the authors'
PyTorch code, with made-up weights.
"""

import importlib.util
import math
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import convert, parameter_map, reader, report, safetensors_file, writer
from relo_jax.errors import UserError
from relo_jax.mdp.action import decode_boxes
from relo_jax.model import RELO, VARIANTS
from relo_jax.study.rehearsal import weights
from tests.checkpoints.checks import assert_same
from tests.golden import FIELDS

FIXTURES = Path(__file__).parents[2] / "fixtures"
CHECKPOINT = FIXTURES / "relo_tiny.pth.tar"
GOLDEN = dict(FIELDS, init_scheme="release")
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def model():
    return RELO.from_variant("tiny", **GOLDEN)


@pytest.fixture(scope="module")
def variables(model):
    return convert.from_torch(CHECKPOINT, model)


@pytest.fixture(scope="module")
def golden():
    """The release's numbers with clips first and channels last: `[B, T, ...]`."""
    with np.load(FIXTURES / "forward_tiny.npz") as file:
        data = {name: file[name] for name in file}
    clips_first = {name: array.swapaxes(0, 1) for name, array in data.items() if name != "temporal_tokens"}
    maps = [name for name in data if name.endswith(("_images", "_map"))]
    tokens = np.moveaxis(data["temporal_tokens"], 0, 2)  # [L, B, T, n, D]
    return clips_first | {name: np.moveaxis(clips_first[name], -3, -1) for name in maps} | {"tokens": tokens}


@pytest.fixture(scope="module")
def state_dict():
    return {name: np.asarray(tensor) for name, tensor in reader.load(CHECKPOINT)["net"].items()}


def assert_as_released(golden, features, tokens, logits, value, size, offset, center):
    ours = {
        "features": features, "tokens": tokens, "policy_logits": logits, "value": value, "size_map": size,
        "offset_map": offset, "score_map": center[..., None],
    }  # fmt: skip
    for name, array in ours.items():
        assert array.shape == golden[name].shape, name
        np.testing.assert_allclose(array, golden[name], rtol=0, atol=TOLERANCE, err_msg=name)
    action = center.reshape(*center.shape[:2], -1).argmax(-1)
    boxes = decode_boxes(size, offset, action)
    np.testing.assert_allclose(boxes, golden["pred_boxes"][:, :, 0], rtol=0, atol=TOLERANCE)


def test_the_clip_path_equals_the_release(model, variables, golden):
    @jax.jit
    def run(variables, images, boxes, search):
        templates = model.apply(variables, images, boxes, method="encode_templates")
        return model.apply(variables, templates, search, with_center=True, method="clip")

    out = run(variables, golden["template_images"], golden["template_boxes_xywh"], golden["search_images"])
    assert_as_released(golden, out.features, out.tokens, out.policy_logits, out.value, out.size, out.offset, out.center)


def test_the_frame_path_equals_the_release(model, variables, golden):
    @jax.jit
    def run(variables, images, boxes, search):
        templates = model.apply(variables, images, boxes, method="encode_templates")

        def step(carry, frame):
            features, tokens = model.apply(variables, templates, frame, *carry, method="frame")
            heads = [model.apply(variables, features, method=m) for m in ("policy_logits", "value", "boxes", "center")]
            logits, value, (size, offset), center = heads
            return (tokens, jnp.zeros(2, bool)), (features, tokens, logits, value, size, offset, center)

        start = jnp.full((3, 2, 2, 96), 1e3), jnp.ones(2, bool)  # in the first frame, tokens are ignored
        return jax.lax.scan(step, start, jnp.moveaxis(search, 1, 0))[1]

    out = run(variables, golden["template_images"], golden["template_boxes_xywh"], golden["search_images"])
    frame_axis = [1, 2, 1, 1, 1, 1, 1]
    assert_as_released(golden, *(jnp.moveaxis(x, 0, axis) for x, axis in zip(out, frame_axis, strict=True)))


def test_a_state_dict_of_arrays_gives_the_same_as_the_file(model, variables, state_dict):
    again = convert.from_torch(state_dict, model)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    assert jax.tree.structure(again) == jax.tree.structure(parameter_map.abstract_variables(model))
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {jnp.dtype("float32")}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_torch_reads_the_same_and_its_tensors_are_accepted(model, variables, monkeypatch):
    import torch

    for name, cls in [("lib.train.admin.stats", "AverageMeter"), ("lib.train.admin.settings", "Settings")]:
        parts = name.split(".")
        for i in range(len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[: i + 1]), types.ModuleType(parts[i]))
        setattr(sys.modules[name], cls, type(cls, (), {}))
    loaded = torch.load(CHECKPOINT, weights_only=False)["net"]
    jax.tree.map(np.testing.assert_array_equal, convert.from_torch(loaded, model), variables)
    half = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in loaded.items()}
    rounded = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16).astype(jnp.float32), variables)
    jax.tree.map(np.testing.assert_array_equal, convert.from_torch(half, model), rounded)


def test_every_tensor_of_a_relo_checkpoint_is_in_the_report(model, state_dict):
    conversion = convert.convert(CHECKPOINT, model)
    assert conversion.kind == convert.RELO_KIND and not conversion.fresh
    assert all(name.endswith("num_batches_tracked") for name in conversion.unused)
    assert sum(tensors for tensors, _ in conversion.mapped.values()) + len(conversion.unused) == len(state_dict)


def test_a_missing_misshapen_unknown_or_broken_tensor_is_named(model, state_dict):
    name = "encoder.body.blocks.5.mlp.w2.weight"
    shape, last = state_dict[name].shape, "value_model.fc_val.bias"
    extra = state_dict | {"decoder.conv1_tl.0.bias": np.zeros(4, np.float32)}
    broken = {
        f"lacks {name}": {k: v for k, v in state_dict.items() if k != name},
        f"lacks {last}": {k: v for k, v in state_dict.items() if k != last},
        f"{name} has shape {shape[::-1]}, variant 'tiny' needs {shape}": state_dict | {name: state_dict[name].T},
        f"{name} has NaN": state_dict | {name: np.full(shape, np.nan)},
        "has no place for: decoder.conv1_tl.0.bias; leave it out with ignore='decoder.conv1_tl.0.bias'": extra,
    }
    for message, tensors in broken.items():
        with pytest.raises(UserError) as error:
            convert.from_torch(tensors, model)
        assert message in str(error.value) and "\n" not in str(error.value)
    convert.from_torch(extra, model, ignore=["decoder.conv?_tl.*"])


def test_a_checkpoint_of_another_variant_is_refused_by_name():
    sizes = r"3 main blocks of width 96 \(no known variant\), the model has 12 main blocks of width 384 \(t256\)"
    with pytest.raises(UserError, match=rf"relo_tiny.*\(RELO checkpoint\) has {sizes}"):
        convert.from_torch(CHECKPOINT, RELO.from_variant("t256"))


def test_a_file_without_a_known_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither RELO nor"):
        convert.from_torch(FIXTURES / "torch" / "dtypes_zip.pt", RELO.from_variant("tiny"))


def test_a_warm_up_checkpoint_gets_fresh_policy_and_value_with_a_warning(model, variables, state_dict):
    warm = {k: v for k, v in state_dict.items() if not k.startswith(("policy_model.", "value_model."))}
    with pytest.warns(UserWarning, match="freshly initialised policy, value"):
        loaded = convert.from_torch({"net": warm}, model, key=jax.random.key(1))
    for part in ("encoder", "regression"):
        jax.tree.map(np.testing.assert_array_equal, loaded["params"][part], variables["params"][part])
    fresh = loaded["params"]["policy"]["conv0"]["kernel"]
    bound = math.sqrt(6 / (9 * (96 + 64)))  # Xavier
    assert 0.9 * bound < np.abs(fresh).max() <= bound
    assert not np.array_equal(fresh, variables["params"]["policy"]["conv0"]["kernel"])
    np.testing.assert_array_equal(loaded["batch_stats"]["value"]["bn0"]["mean"], 0)


@pytest.fixture(scope="module")
def pretrained(state_dict):
    """An ImageNet-pretrained Fast-iTPN: the encoder without RELO's tokens, a 14 x 14 table and a classifier."""
    body = {k.removeprefix("encoder.body."): v for k, v in state_dict.items() if k.startswith("encoder.body.")}
    own = ("ttokens", "pos_embed_ttoken", "search_token", "template_foreground_token", "template_background_token")
    body = {k: v for k, v in body.items() if k not in own}
    table = np.random.default_rng(0).normal(size=(1, 14 * 14, 96)).astype(np.float32)
    return body | {"pos_embed": table, "head.weight": np.zeros((1000, 96)), "head.bias": np.zeros(1000)}


def test_a_state_dict_is_found_under_common_keys(state_dict, pretrained):
    parts = ("encoder.body.", "decoder.", "policy_model.", "value_model.")
    for tensors, kind in [(state_dict, convert.RELO_KIND), (pretrained, convert.PRETRAINED)]:
        files = [{key: tensors, "epoch": 9} for key in ("net", "module", "model", "state_dict")]
        parallel = {f"module.{name}": tensor for name, tensor in tensors.items()}  # of PyTorch's DataParallel
        for file in (tensors, parallel, *files):
            found = convert.find(file)
            assert found.kind == kind and len(found.tensors) == len(tensors)
            assert all(name.startswith(parts) for name in found.tensors)


def test_a_pretrained_fast_itpn_gives_the_encoder(model, variables, pretrained):
    loaded = convert.convert({"module": pretrained}, model, ignore="head.*")
    encoder, ours = loaded.variables["params"]["encoder"], variables["params"]["encoder"]
    for name in ("patch_embed", "stage1_0", "merge1", "stage2_0", "merge2", "blocks", "fc_norm"):
        jax.tree.map(np.testing.assert_array_equal, encoder[name], ours[name])
    square = pretrained["pos_embed"].reshape(14, 14, 96)
    corners = np.concatenate([square[:8, :8].reshape(64, 96), square[:4, :4].reshape(16, 96)])
    np.testing.assert_array_equal(encoder["pos_embed"], corners)
    np.testing.assert_array_equal(encoder["search_token"], 0)
    assert loaded.kind == convert.PRETRAINED and set(loaded.fresh) == {"encoder", "regression", "policy", "value"}
    assert loaded.unused == dict.fromkeys(("head.weight", "head.bias"), "left out by 'head.*'")


def test_a_pretrained_file_must_be_complete(model, pretrained):
    for name in ("blocks.4.attn.q_bias", "pos_embed", "blocks.5.gamma_1"):  # gammas only in some blocks
        with pytest.raises(UserError, match=f"lacks {name}, which variant 'tiny' needs"):
            convert.from_torch({k: v for k, v in pretrained.items() if k != name}, model)
    with pytest.raises(UserError, match=r"no place for: rel_pos_bias\.table \(relative positions\), head\.\* "):
        convert.from_torch({"rel_pos_bias.table": np.zeros(3)} | pretrained, model)
    with pytest.raises(UserError, match="state dict: pos_embed has shape .* side"):
        convert.from_torch(pretrained | {"pos_embed": np.zeros((1, 197, 96), np.float32)}, model)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_precisions_are_read_as_float32_and_reported(suffix, dtype, model, state_dict, variables, tmp_path):
    path = tmp_path / f"x{suffix}"
    is_number = lambda tensor: tensor.dtype == np.float32
    stored = {name: x.astype(np.dtype(dtype)) if is_number(x) else x for name, x in state_dict.items()}
    if suffix == ".pt":
        writer.save(path, {"net": stored})
    else:
        safetensors_file.save(path, stored, {})
    loaded = convert.convert(path, model)
    exact = jax.tree.map(lambda x: np.asarray(x).astype(np.dtype(dtype)).astype(np.float32), variables)
    assert_same(loaded.variables, exact)
    assert loaded.dtypes == {dtype: sum(tensors for tensors, _ in loaded.mapped.values())}
    how = "with rounding" if dtype == "float64" else "exactly"
    assert f" tensors in {dtype}, converted to float32 {how}" in report.account(loaded, model)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.complex64])
def test_weights_must_be_real_numbers(dtype, model, state_dict):
    name = "encoder.body.blocks.5.attn.v_bias"
    wrong = state_dict | {name: np.zeros(96, dtype)}
    with pytest.raises(UserError, match=rf"{name}: its numbers are of type {np.dtype(dtype)}, expected float32"):
        convert.from_torch(wrong, model)
    with pytest.raises(UserError, match=rf"lacks {name} \(it is a str, not a tensor\), which"):
        convert.from_torch(state_dict | {name: "text"}, model)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"depth": 2}, "2 main blocks of width 96 (no known variant), the model has 3 main blocks of width 96 (tiny)"),
        ({"width": 48}, "3 main blocks of width 48 (no known variant), the model has 3 main blocks of width 96 (tiny)"),
        ({"stem_blocks": (1, 2)}, "3 main blocks of width 96, 1 + 2 stem blocks (no known variant), the model has"),
    ],
)
def test_a_pretrained_file_of_another_size_is_described_by_its_size(fields, size, model):
    other = weights.imagenet(RELO.from_variant("tiny", **GOLDEN | fields))
    with pytest.raises(UserError) as error:
        convert.from_torch(other, model)  # said before the classifier
    assert f"(pretrained Fast-iTPN) has {size}" in str(error.value)


def test_a_plain_vit_is_not_fast_itpn(model, pretrained):
    vit = {k: v for k, v in pretrained.items() if "q_proj" not in k and "reduction" not in k}
    vit["blocks.0.attn.qkv.weight"] = np.zeros((3, 3), np.float32)
    for call in (convert.model_for, lambda tensors: convert.from_torch(tensors, model)):
        with pytest.raises(UserError, match="blocks have attn.qkv, as a ViT or the first iTPN has"):
            call(vit)


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (
            "head.*,blocks.5.*",
            r"'blocks.5.\*' matches blocks.5.norm1.weight of the state dict, which the model needs \(21 of 94",
        ),
        ("*weight", r"'\*weight' leaves out all"),
        ("*bias", r"'\*bias' matches patch_embed.proj.bias of the state dict, which the model needs"),
    ],
)
def test_a_pattern_does_not_leave_out_what_the_model_needs(ignore, message, model, pretrained):
    with pytest.raises(UserError, match=f"--ignore {message}"):
        convert.from_torch(pretrained, model, ignore=ignore, option="--ignore ")


def fake(model):
    """A state dict of zeros with the shapes of a model."""
    return {
        name: np.broadcast_to(np.float32(0), source.release_shape)
        for source in parameter_map.sources(model)
        for name in source.names
    }


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_shapes_give_the_variant(variant):
    model = RELO.from_variant(variant)
    assert convert.model_for(fake(model)) == model
    other = RELO.from_variant(
        variant, search_size=model.config.search_size + 64, template_size=model.config.template_size + 32
    )
    assert convert.model_for(fake(other)) == other


def test_an_unknown_size_needs_its_number_of_heads(model):
    with pytest.raises(UserError, match="set heads=N"):
        convert.model_for(CHECKPOINT)
    assert convert.model_for(CHECKPOINT, {"heads": 3, "templates": 2, "init_scheme": "release"}) == model
    pretrained = {k.removeprefix("encoder.body."): v for k, v in fake(RELO.from_variant("b256")).items()}
    assert convert.model_for(pretrained) == RELO.from_variant("b256")
