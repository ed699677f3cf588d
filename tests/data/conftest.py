"""Fixtures of the data tests."""

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """A folder with every miniature dataset under its authors' name for it."""
    root = tmp_path_factory.mktemp("datasets")
    for name, make in miniature.MAKERS.items():
        make(root / layouts.dataset_layout(name).folders[0])
    return root
