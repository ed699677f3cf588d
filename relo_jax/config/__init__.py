"""The config of a training run: its fields (`fields`), recipes over them (`recipes`) and their checks (`validation`).

A file in `configs/` is a `get_config(stage)` over `base()`; `--config.field=value` changes single fields.
"""

from relo_jax.config.fields import BENCHMARKS, DATASETS, PAPER_DATA, base, flatten, steps
from relo_jax.config.recipes import paper, starter
from relo_jax.config.validation import check_same_run, from_dict, to_dict, unknown_field, validate

__all__ = [
    "BENCHMARKS", "DATASETS", "PAPER_DATA", "base", "check_same_run", "flatten", "from_dict", "paper", "starter",
    "steps", "to_dict", "unknown_field", "validate",
]  # fmt: skip
