"""`ModelConfig`: values of which no network can be built are refused."""

import dataclasses

import pytest

from relo_jax.config.model_config import CHOICES
from relo_jax.errors import UserError
from relo_jax.model.variants import variant_config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 0}, "heads is 0"),
        ({"heads": 5}, "width is 384"),
        ({"search_size": 100}, "multiple of 16"),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
        ({"propagation": "deep"}, r"propagation is 'deep' \(known: layer_aligned"),
        ({"localizer": "heat-map"}, "did you mean 'heatmap'"),
        ({"dtype": "float46"}, "did you mean 'float16'"),
        ({"init_scheme": "similar"}, "did you mean 'similarity'"),
        ({"stem_blocks": "(1,"}, r"stem_blocks is '\(1,', expected two integers"),
        ({"stem_blocks": (1, 2, 3)}, "expected two integers"),
        ({"drop_path": "none"}, "drop_path is 'none', expected a share"),
        ({"head_width": 0}, "head_width is 0, expected an integer from 1 to 65536"),
        ({"layer_scale": "small"}, "layer_scale is 'small', expected a number"),
        ({"remat": "yes"}, "remat is 'yes', expected True or False"),
        ({"remat": True, "remat_policy": "dot"}, "did you mean 'dots'"),
        ({"remat_policy": "dots"}, "remat_policy is 'dots', and nothing reads it without remat=True"),
    ],
)
def test_a_value_that_makes_no_network_is_refused(fields, message):
    with pytest.raises(UserError, match=f"variant 't256'.*{message}"):
        variant_config("t256", **fields)
    with pytest.raises(UserError, match=message):
        dataclasses.replace(variant_config("t256"), **fields)


def test_the_first_choice_is_the_default():
    config = variant_config("t256")
    assert {name: getattr(config, name) for name in CHOICES} == {name: known[0] for name, known in CHOICES.items()}


def test_the_grid_has_a_cell_for_each_sixteen_pixels():
    assert variant_config("t256").grid == 16 and variant_config("t256", search_size=384).grid == 24
