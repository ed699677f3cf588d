"""The exported folder: its files, and tracker.json, which says how a driver uses them.

step.onnx, template.onnx            float32; step.onnx.data has the weights if they are large
step.float16.onnx, ...              other precisions
parity.npz                          inputs and outputs of relo_jax, to check a graph with
tracker.json                        sizes, rules, states, checkpoint, and the sha256 of every graph
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from relo_jax import __version__
from relo_jax.errors import UserError
from relo_jax.export.relo_track import FORMAT, TRACKER_FILE
from relo_jax.export.source import Source
from relo_jax.geometry.crop import SEARCH_FACTOR, TEMPLATE_FACTOR

PARITY_FILE = "parity.npz"
CROP = (
    "square around the box, side ceil(sqrt(w h) factor), black outside the frame and in its last column and row if it "
    "reaches beyond them; OpenCV's integer bilinear resize of uint8 RGB"
)


def description(source: Source, batch: int | None) -> dict[str, Any]:
    """tracker.json, without graphs.

    Args:
      source: the checkpoint.
      batch: B of the graphs; None: any.
    """
    config = source.config
    return {
        "format": FORMAT,
        "relo_jax": __version__,
        "checkpoint": source.checkpoint,
        "licence": source.license,
        "variant": config.variant,
        "model": config.to_dict(),
        "search_size": config.search_size,
        "template_size": config.template_size,
        "search_factor": SEARCH_FACTOR,
        "template_factor": TEMPLATE_FACTOR,
        "templates": config.templates,
        "grid": config.grid,
        "batch": batch,
        "localizer": config.localizer,
        "calibrated": source.calibrated,
        **source.options,
        "crop": CROP,
        "state": {name: list(shape) for name, shape in source.states(batch).items()},
        "graphs": {},
    }


def entry(path: Path, data: Path | None = None) -> dict[str, Any]:
    """A graph's entry in tracker.json; `data` is the file that has its weights, if there is one."""
    found: dict[str, Any] = {"file": path.name, "sha256": sha256(path)}
    return found if data is None else {**found, "data": entry(data)}


def sha256(path: Path) -> str:
    """Of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_description(folder: Path, described: dict[str, Any]) -> None:
    """Writes tracker.json into an unfinished folder."""
    (folder / TRACKER_FILE).write_text(json.dumps(described, indent=1) + "\n")


def check_out(out: Path, checkpoint: dict[str, str]) -> None:
    """Raises UserError if OUT is there already: with this checkpoint, with another, or with something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        before = json.loads((out / TRACKER_FILE).read_text())["checkpoint"]
        name, same = before["name"], before["sha256"] == checkpoint["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(f"{out} exists already: give another name, or remove it") from None
    if same:
        raise UserError(f"{out} exists already, with this checkpoint: give another name, or remove it")
    raise UserError(f"{out} has the files of another checkpoint, {name}: give another name, or remove it")
