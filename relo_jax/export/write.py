"""Writes the exported folder of a checkpoint, checked, and whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from relo_jax.checkpoints import hub
from relo_jax.checkpoints.load import Loaded, load_tracker
from relo_jax.checkpoints.publish import PACKAGED_LICENSE
from relo_jax.checkpoints.run_directory import STARTERS, check_space
from relo_jax.errors import UserError
from relo_jax.export import folder, parity, precision, readme
from relo_jax.export.template import template_model
from relo_jax.files import atomic_folder
from relo_jax.model.folding import fold
from relo_jax.tracking.options import checked_options

Addition = Callable[[Path, dict], None]  # (the unfinished folder, its description, which may be added to)
DRIVER = Path(__file__).with_name("relo_track.py")


@dataclass(frozen=True)
class Source:
    """A checkpoint to export: what it is, its variables on the host, and all options of the tracker."""

    checkpoint: dict[str, str]  # name and sha256
    loaded: Loaded
    options: dict
    license: str | None

    @classmethod
    def of(cls, checkpoint: str | Path, license: str | None = None) -> Source:
        """Loads a checkpoint, to be computed in float32. Raises UserError, see `load_tracker`."""
        loaded = load_tracker(checkpoint, "float32")
        variables = jax.device_get(loaded.variables)
        packaged = str(checkpoint) in STARTERS
        name = str(checkpoint) if packaged or hub.is_address(checkpoint) else Path(checkpoint).absolute().name
        return cls(
            {"name": name, "sha256": folder.digest(variables)},
            Loaded(loaded.model, variables, loaded.config),
            checked_options(loaded.config.get("tracker", {}), loaded.model),
            license or (PACKAGED_LICENSE if packaged else None),
        )


def export(
    source: Source,
    out: Path,
    precisions: Sequence[str] = ("float32",),
    batch: int = 1,
    additions: Sequence[Addition] = (),
) -> dict:
    """Writes the folder of ONNX graphs, after they have been compared with relo_jax.

    Args:
      source: the checkpoint.
      out: folder that does not exist yet, or is empty.
      precisions: of `precision.PRECISIONS`, float32 first.
      batch: B, targets that the graphs take at a time.
      additions: called on the unfinished folder, when it can be tracked with.

    Returns:
      What tracker.json has; `graphs[precision]["difference"]` is that of each output from relo_jax.

    Raises:
      UserError: OUT is there already; it cannot be written; a graph is too far from relo_jax.
    """
    if batch < 1:
        raise UserError(f"batch is {batch}: give the number of targets at a time, at least 1")
    folder.check_out(out, source.checkpoint)
    check_space(out.absolute().parent, [source.loaded.variables] * len(precisions))
    model, variables = source.loaded.model, source.loaded.variables
    described = folder.description(model, source.options, source.checkpoint, source.license, batch)
    with atomic_folder(out) as unfinished:
        recorded = parity.record(model, variables, source.options, batch)
        np.savez_compressed(unfinished / folder.PARITY_FILE, **recorded)
        template = template_model(model.config, fold(model.config, variables), batch)
        template = folder.save_graph(template, unfinished / "template.onnx")
        for name in precisions:
            path = unfinished / ("step.onnx" if name == "float32" else f"step.{name}.onnx")
            step = precision.step_in(name, model.config, variables, source.options, batch)
            entry = {"step": folder.save_graph(step, path), "template": template}
            entry["difference"] = _checked(name, unfinished, path, recorded, out)
            described["graphs"][name] = entry
        shutil.copyfile(DRIVER, unfinished / DRIVER.name)
        folder.write_description(unfinished, described)
        for add in additions:
            add(unfinished, described)
        folder.write_description(unfinished, described)
        (unfinished / "README.md").write_text(readme.page(described))
    return described


def _checked(name: str, unfinished: Path, path: Path, recorded: parity.Recorded, out: Path) -> dict[str, float]:
    """The differences of a step graph and the template's from relo_jax. Raises UserError if one is too large."""
    graphs = {"step": path, "template": unfinished / "template.onnx"}
    found = parity.differences({graph: precision.open_session(path) for graph, path in graphs.items()}, recorded)
    parity.check(name, found, out)
    return {output: float(f"{difference:.2g}") for output, difference in found.items()}
