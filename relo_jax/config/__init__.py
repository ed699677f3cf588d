"""The config of a training run: its fields (`fields`), recipes over them (`recipes`) and their checks (`validation`).

A file in `configs/` is a `get_config(stage)` over `base()`; `--config.field=value` changes single fields. `named` finds
these files, `command_line` reads them, and `summary` prints a config in a notebook.
"""

from relo_jax.config.evaluation import evaluation, evaluation_from_dict, validate_evaluation
from relo_jax.config.fields import BENCHMARKS, DATASETS, PAPER_DATA, RULES, base, flatten, steps
from relo_jax.config.recipes import paper, recipe, release, starter
from relo_jax.config.validation import check_same_run, from_dict, to_dict, unknown_field, validate

__all__ = [
    "BENCHMARKS", "DATASETS", "PAPER_DATA", "RULES", "base", "check_same_run", "evaluation", "evaluation_from_dict",
    "flatten", "from_dict", "paper", "recipe", "release", "starter", "steps", "to_dict", "unknown_field", "validate",
    "validate_evaluation",
]  # fmt: skip
