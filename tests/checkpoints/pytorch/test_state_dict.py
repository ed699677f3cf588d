"""The network in anybody's file is found whatever stands around it; two networks are a question to the user."""

import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import reader, state_dict
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX
from relo_jax.errors import UserError
from tests.checkpoints.checks import one_line
from tests.checkpoints.files import prefixed

ENCODER = {name: np.zeros(2, np.float32) for name in ("patch_embed.proj.weight", "blocks.0.mlp.ffn_ln.weight")}
HEAD = {"head.weight": np.zeros(3, np.float32)}
FOUND = {PREFIX + name for name in (*ENCODER, *HEAD)}
RELO_NAMES = prefixed(ENCODER, PREFIX) | {"decoder.conv1_ctr.0.weight": np.zeros(1), "policy_model.x": np.zeros(1)}


def wrapped(tensors, *keys):
    """`{"a": {"b": tensors}}` beside what a file may have besides."""
    for key in reversed(keys):
        tensors = {"epoch": 3, key: tensors, "optimizer": {"state": {0: {"step": np.zeros(())}}, "param_groups": [{}]}}
    return tensors


@pytest.mark.parametrize(
    "keys",
    ["", "net", "model", "module", "state_dict", "model_state_dict", "model_ema", "teacher", "state_dict model"],
)
@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "encoder.", "backbone.", "body.", "encoder.body.", "module.model.",
     "module.module.", "module._orig_mod.model.encoder."],
)  # fmt: skip
def test_dicts_and_prefixes_around_an_encoder_do_not_matter(keys, prefix):
    found = state_dict.find(wrapped(prefixed(ENCODER | HEAD, prefix), *keys.split()))
    assert found.kind == state_dict.PRETRAINED and set(found.tensors) == FOUND and not found.ignored
    assert found.around == "".join(f"{key}." for key in keys.split()) + prefix
    assert found.shown(PREFIX + "head.weight") == "head.weight"


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_dicts_and_prefixes_around_relo_do_not_matter(prefix):
    found = state_dict.find(wrapped(prefixed(RELO_NAMES, prefix), "net"))
    assert found.kind == state_dict.RELO_KIND and set(found.tensors) == set(RELO_NAMES)
    warm = {name: tensor for name, tensor in RELO_NAMES.items() if not name.startswith("policy_model")}
    assert state_dict.find(prefixed(warm, prefix)).kind == state_dict.WARMUP
    assert state_dict.find(prefixed(RELO_NAMES, prefix), "policy_model.*").kind == state_dict.WARMUP


def test_tensors_beside_the_network_are_found_under_their_own_names():
    found = state_dict.find(prefixed(ENCODER, "backbone.") | {"neck.weight": np.zeros(1)})
    (outside,) = found.tensors.keys() - {PREFIX + name for name in ENCODER}
    assert found.shown(outside) == "neck.weight" and not outside.startswith(PREFIX)


TWO = {
    "'model' and 'model_ema': .*'model_ema.\\*'": {"model": ENCODER, "model_ema": dict(ENCODER)},
    "'student' and 'teacher': .*'teacher.\\*'": prefixed(ENCODER, "student.") | prefixed(ENCODER, "teacher."),
    "one without a prefix and 'ema': .*'ema.\\*'": ENCODER | {"ema": dict(ENCODER)},
    "'net.module' and 'net_ema.module': .*'net_ema.module.\\*'": {
        "net_ema": prefixed(ENCODER, "module."), "net": prefixed(ENCODER, "module."),
    },
}  # fmt: skip


@pytest.mark.parametrize("message", TWO)
def test_of_two_networks_the_user_says_which(message):
    with pytest.raises(UserError, match=f"has 2 networks, {message}") as error:
        state_dict.find(TWO[message], option="--ignore ")
    pattern = str(error.value).split("--ignore ")[1].strip("'")
    found = state_dict.find(TWO[message], pattern)
    assert set(found.left) == {PREFIX + name for name in ENCODER}


def test_one_network_under_two_keys_is_one():
    assert state_dict.find({"model": ENCODER, "teacher": ENCODER}).around == "model."
    inside_itself = dict(ENCODER)
    inside_itself["again"] = inside_itself
    assert state_dict.find(inside_itself).around == ""


@pytest.mark.parametrize(
    "ignore", ["head.*", ("head.*",), "*.weight2,head.weight", "model.module.head.*", "module.head.*"]
)
def test_patterns_match_names_with_and_without_what_is_around(ignore):
    tensors = wrapped(prefixed(ENCODER | HEAD | {"a.weight2": np.zeros(1)}, "module."), "model")
    found = state_dict.find(tensors, ignore)
    assert PREFIX + "head.weight" not in found.left and found.left.keys() >= {PREFIX + name for name in ENCODER}


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        ("haed.*", "'haed.\\*' matches no tensor of the state dict: did you mean 'head.\\*'"),
        (("head.*", "zzz"), "'zzz' matches no tensor of the state dict: it has blocks.\\*, head.\\*, patch_embed.\\*"),
        ("*", "'\\*' leaves out all of the state dict: name only"),
        ("patch_embed.*,blocks.*", "'patch_embed.\\*,blocks.\\*' leaves out all of"),
        ((3,), "3: expected patterns of names, such as 'head.\\*'"),
        ((None,), "None: expected patterns"),
    ],
)
def test_a_bad_pattern_is_one_line(ignore, message):
    one_line(state_dict.find, ENCODER | HEAD, ignore, "--ignore ", match=f"--ignore {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "has no tensors: it holds a list; save a state_dict"),
        ("text", "has no tensors: it holds a str"),
        ({}, "has no tensors: found nothing"),
        ({"layers": [1], "epoch": 3}, "has no tensors: found 'layers', 'epoch'"),
        (
            reader.Inert("lib.models", "Model"),
            r"has no tensors: it holds a whole object \(Model\); save its state_dict\(\)",
        ),
        ({"conv1.weight": np.zeros(3)}, "has neither RELO nor Fast-iTPN.*found conv1.weight"),
    ],
)
def test_a_file_without_a_network_is_one_line(content, message, monkeypatch):
    monkeypatch.setattr(state_dict, "load", lambda path: content)
    one_line(state_dict.find, "file.pt", match=f"^file.pt {message}")


def test_nesting_and_names_are_bounded(monkeypatch):
    deep = {"weight": np.zeros(1)}
    for _ in range(100_000):
        deep = {"a": deep}
    for content, message in ((deep, "nested more than 20 deep"), ({"n" * 5000: np.zeros(1)}, "5000 characters")):
        monkeypatch.setattr(state_dict, "load", lambda path, content=content: content)
        one_line(state_dict.find, "file.pt", match=f"^file.pt.*{message}")
