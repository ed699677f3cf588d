"""Tensors without a place in the model are listed, and the patterns that the message gives leave out just them."""

import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import state_dict, strays
from relo_jax.checkpoints.pytorch.parameter_map import PREFIX
from relo_jax.errors import UserError
from tests.checkpoints.files import CLASSIFIER, PRETRAINING, prefixed

ENCODER = {
    name: np.zeros(2, np.float32)
    for name in ("patch_embed.proj.weight", "blocks.0.mlp.ffn_ln.weight", "blocks.1.attn.proj.weight", "fc_norm.bias")
}
USED = {PREFIX + name for name in ENCODER}
TABLES = {f"blocks.{i}.attn.relative_position_bias_table": np.zeros(1) for i in range(2)}
STRAYS = {
    "head.* (2, classifier)": CLASSIFIER,
    "mask_token (replaces masked patches), lm_head.* (2, prediction of masked patches), norm.* (2, l": PRETRAINING,
    "fpn_modules.* (2, decoder of pre-training), decoder_embed.0.1.weight (decoder of": PRETRAINING,
    "blocks.*.attn.relative_position_bias_table (2, relative positions)": TABLES,
    "blocks.0.mlp.extra; leave it": {"blocks.0.mlp.extra": np.zeros(1)},
    "neck.weight; leave it": {"neck.weight": np.zeros(1)},
}


@pytest.mark.parametrize("prefix", ["", "module.model."])
@pytest.mark.parametrize("listed", STRAYS)
def test_strays_are_listed_with_patterns_that_leave_out_just_them(listed, prefix):
    tensors = prefixed(ENCODER | STRAYS[listed], prefix)
    with pytest.raises(UserError) as error:
        strays.account(state_dict.find(tensors), USED, "--config.init_ignore=")
    message = str(error.value)
    assert listed in message and "\n" not in message
    assert f"has {len(STRAYS[listed])} tensor" in message and "that the encoder has no place for" in message
    patterns = message.split("--config.init_ignore=")[1].strip("'")
    found = state_dict.find(tensors, patterns)
    assert set(found.left) == USED
    assert set(strays.account(found, USED, "")) == set(STRAYS[listed])


def test_a_pattern_never_reaches_past_what_is_around_the_network():
    """`model.*` would match the whole network too, by its names in the file."""
    tensors = prefixed(ENCODER, "model.encoder.") | prefixed(CLASSIFIER, "model.")
    found = state_dict.find(tensors)
    assert strays.remedy(found, found.tensors.keys() - USED) == ["model.head.*"]


def test_counters_are_left_out_unasked():
    names = prefixed(ENCODER, PREFIX) | {"decoder.conv1_ctr.1.num_batches_tracked": np.zeros((), np.int64)}
    (why,) = strays.account(state_dict.find(names), USED, "").values()
    assert why.startswith("counts batches")
