"""Assertions about variables and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.errors import UserError


def assert_same(ours, expected):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {jnp.dtype("float32")}
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


def one_line(call, *args, match):
    """The call raises a UserError of one line."""
    with pytest.raises(UserError, match=match) as error:
        call(*args)
    assert "\n" not in str(error.value)
