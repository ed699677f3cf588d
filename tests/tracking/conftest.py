"""The small checkpoint of the golden numbers, as model and variables."""

from tests.golden import model, variables

__all__ = ["model", "variables"]
