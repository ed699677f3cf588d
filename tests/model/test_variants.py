"""The table of variants: unknown names, and configs of runs from before a field existed."""

import pytest

from relo_jax.errors import UserError
from relo_jax.model import RELO
from tests.model.small import small


def test_a_config_from_before_remat_had_a_policy_stores_nothing():
    older = {k: v for k, v in small(remat=True).config.to_dict().items() if k != "remat_policy"}
    assert RELO.from_config(older) == small(remat=True) == small(remat=True, remat_policy="nothing")


def test_a_config_from_before_the_choices_is_the_papers_model():
    older = {k: v for k, v in small().config.to_dict().items() if k not in ("propagation", "localizer")}
    assert RELO.from_config(older) == small(propagation="layer_aligned", localizer="policy")


@pytest.mark.parametrize(
    ("variant", "overrides", "message"),
    [
        ("t265", {}, "did you mean 't256'"),
        ("t256", {"dpeth": 3}, "did you mean 'depth'"),
    ],
)
def test_an_unknown_name_names_the_nearest(variant, overrides, message):
    with pytest.raises(UserError, match=message):
        RELO.from_variant(variant, **overrides)
