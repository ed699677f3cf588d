"""The network: Fast-iTPN encoder, layer-aligned temporal tokens, and the three heads (paper, Section 3)."""

from relo_jax.model.relo import RELO, ClipOutput, init_variables
from relo_jax.model.variants import VARIANTS, model_config, model_from_config

__all__ = ["RELO", "VARIANTS", "ClipOutput", "init_variables", "model_config", "model_from_config"]
