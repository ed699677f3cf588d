"""The small checkpoint of the golden numbers, as model and variables."""

import pytest

from relo_jax.checkpoints.pytorch import convert
from relo_jax.model import RELO
from tests.golden import FIELDS


@pytest.fixture(scope="session")
def model():
    return RELO.from_variant("tiny", **FIELDS)


@pytest.fixture(scope="session")
def variables(model, fixtures):
    return convert.from_torch(fixtures / "relo_tiny.pth.tar", model)
