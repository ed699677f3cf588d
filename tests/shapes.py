"""Checks the shapes in the signatures of the pure modules while the tests run (jaxtyping, beartype)."""

import importlib
import inspect

from beartype import beartype
from jaxtyping import jaxtyped

MODULES = (  # each after those that it imports from, so that no module imports an unchecked function
    "relo_jax.geometry.boxes", "relo_jax.geometry.crop",
    "relo_jax.mdp.action", "relo_jax.mdp.reward", "relo_jax.mdp.policy_gradient", "relo_jax.mdp.expected_gradient",
    "relo_jax.mdp.rollout",
    "relo_jax.model.temporal", "relo_jax.model.layers", "relo_jax.model.heads", "relo_jax.model.fast_itpn",
    "relo_jax.model.relo", "relo_jax.model.precision",
    "relo_jax.tracking.confidence", "relo_jax.tracking.step",
)  # fmt: skip


def check_signatures(modules=MODULES):
    """Wraps the public functions of the modules, and the public methods of their classes, each once."""
    for name in modules:
        module = importlib.import_module(name)
        for owner in (module, *(c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == name)):
            for attribute, function in list(vars(owner).items()):
                is_public = not attribute.startswith("_") or attribute == "__call__"
                is_its_own = inspect.isfunction(function) and function.__module__ == name
                if is_public and is_its_own and not hasattr(function, "checks_shapes"):
                    checked = jaxtyped(function, typechecker=beartype)
                    checked.checks_shapes = True
                    setattr(owner, attribute, checked)
