"""The network: Fast-iTPN encoder, layer-aligned temporal tokens, and the three heads (paper, Section 3)."""

from relo_jax.config.model_config import ModelConfig
from relo_jax.model.initialise import count_parameters, init_variables
from relo_jax.model.relo import RELO, ClipOutput
from relo_jax.model.variants import VARIANTS

__all__ = ["RELO", "VARIANTS", "ClipOutput", "ModelConfig", "count_parameters", "init_variables"]
