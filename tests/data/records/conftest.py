"""Fixtures of the tests of records."""

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.data.records import build
from tests.data import builders


@pytest.fixture(scope="session")
def built(roots, tmp_path_factory):
    """A folder with every miniature dataset, built."""
    out = tmp_path_factory.mktemp("built")
    for name in miniature.MAKERS:
        layout = layouts.dataset_layout(name)
        for split in layout.splits:
            build.build(layout, split, out, roots, shard_mib=0.02, cache=out / "cache")
    return out


@pytest.fixture
def lasot(tmp_path):
    return builders.Lasot(tmp_path)
