"""A checkpoint to export."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from relo_jax.checkpoints import hub
from relo_jax.checkpoints.load import Loaded, load_tracker
from relo_jax.checkpoints.publish import PACKAGED_LICENSE
from relo_jax.checkpoints.run_directory import STARTERS
from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.model.temporal import carried_rows
from relo_jax.tracking.confidence import is_calibrated
from relo_jax.tracking.options import checked_options


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint to export: what it is, its variables on the host, and all options of the tracker."""

    checkpoint: dict[str, str]  # name and sha256
    loaded: Loaded
    options: dict
    license: str | None

    @classmethod
    def of(cls, checkpoint: str | Path, license: str | None = None) -> Source:
        """Loads a checkpoint, to be computed in float32. Raises UserError, see `load_tracker`.

        Args:
          checkpoint: see `load.load`.
          license: of the weights, by the hub's identifiers; None names none, but for a model of the package.
        """
        loaded = load_tracker(checkpoint, "float32")
        variables = jax.device_get(loaded.variables)
        packaged = str(checkpoint) in STARTERS
        name = str(checkpoint) if packaged or hub.is_address(checkpoint) else Path(checkpoint).absolute().name
        return cls(
            {"name": name, "sha256": digest(variables)},
            Loaded(loaded.model, variables, loaded.config),
            checked_options(loaded.config.get("tracker", {}), loaded.model),
            license or (PACKAGED_LICENSE if packaged else None),
        )

    @property
    def config(self) -> ModelConfig:
        """Of the network."""
        return self.loaded.model.config

    @property
    def calibrated(self) -> bool:
        """Whether the score is a probability."""
        return is_calibrated(self.options)

    @property
    def template_tokens(self) -> int:
        """m, tokens of a template."""
        return (self.config.template_size // STRIDE) ** 2

    def states(self, batch: int | None) -> dict[str, tuple[int | None, ...]]:
        """What goes from frame to frame, float32, zeros before the first one: input NAME and output new_NAME.

        Args:
          batch: B; None: any.
        """
        config = self.config
        shapes: dict[str, tuple[int | None, ...]] = {
            "tokens": (carried_rows(config), batch, config.temporal_tokens, config.width)
        }
        return {**shapes, "reference": (batch, config.width)} if self.calibrated else shapes


def digest(variables: dict) -> str:
    """sha256 of a checkpoint's variables, whatever kind of file they come from."""
    total = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(variables):
        total.update(jax.tree_util.keystr(path).encode())
        total.update(np.asarray(array, np.float32, order="C").tobytes())
    return total.hexdigest()
