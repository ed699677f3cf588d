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

import jax
import numpy as np
import onnx

from relo_jax import __version__
from relo_jax.errors import UserError
from relo_jax.export.step import state_shapes
from relo_jax.geometry.crop import SEARCH_FACTOR, TEMPLATE_FACTOR
from relo_jax.model import RELO
from relo_jax.tracking.confidence import is_calibrated

FORMAT = 1
TRACKER_FILE, PARITY_FILE = "tracker.json", "parity.npz"
CROP = (
    "square around the box, side ceil(sqrt(w h) factor), black outside the frame and in its last column and row if it "
    "reaches beyond them; OpenCV's integer bilinear resize of uint8 RGB"
)
_OPTIONS = ("window_power", "update_interval", "update_threshold", "found_threshold", "found_frames")
_LARGE = 1_000_000_000  # bytes of weights; protobuf ends at 2 GiB, and loads slowly long before


def description(model: RELO, options: dict, checkpoint: dict[str, str], licence: str | None, batch: int) -> dict:
    """tracker.json, without graphs.

    Args:
      model: the network.
      options: all options of the tracker.
      checkpoint: its name, and `digest` of its variables.
      licence: of the weights, by the hub's identifiers; None: not known.
      batch: B of the graphs.
    """
    config = model.config
    return {
        "format": FORMAT,
        "relo_jax": __version__,
        "checkpoint": checkpoint,
        "licence": licence,
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
        "calibrated": is_calibrated(options),
        **{name: options[name] for name in _OPTIONS},
        "crop": CROP,
        "state": {name: list(shape) for name, shape in state_shapes(config, options, batch).items()},
        "graphs": {},
    }


def digest(variables: dict) -> str:
    """sha256 of a checkpoint's variables, whatever kind of file they come from."""
    total = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(variables):
        total.update(jax.tree_util.keystr(path).encode())
        total.update(np.asarray(array, np.float32, order="C").tobytes())
    return total.hexdigest()


def save_graph(model: onnx.ModelProto, path: Path) -> dict[str, Any]:
    """Writes a graph, with its weights beside it if they are large. Returns its entry in tracker.json."""
    external = {}
    if sum(len(weight.raw_data) for weight in model.graph.initializer) > _LARGE:
        external = dict(save_as_external_data=True, location=f"{path.name}.data")
    onnx.save_model(model, path, **external)
    entry: dict[str, Any] = {"file": path.name, "sha256": sha256(path)}
    if external:
        data = path.with_name(external["location"])
        entry["data"] = {"file": data.name, "sha256": sha256(data)}
    return entry


def sha256(path: Path) -> str:
    """Of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_description(folder: Path, described: dict) -> None:
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
        raise UserError(f"{out} exists already, with this checkpoint: remove it to export it anew")
    raise UserError(f"{out} has the files of another checkpoint, {name}: give another name, or remove it")
