"""Writes the exported folder of a checkpoint, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import jax

from relo_jax.checkpoints.load import load_tracker
from relo_jax.export import folder
from relo_jax.export.step import step_model
from relo_jax.export.template import template_model
from relo_jax.files import remove_leftovers, unfinished_name
from relo_jax.model.folding import fold
from relo_jax.tracking.options import checked_options


def export(checkpoint: str, out: Path, batch: int = 1) -> dict:
    """draft"""
    loaded = load_tracker(checkpoint, "float32")
    model, options = loaded.model, checked_options(loaded.config.get("tracker", {}), loaded.model)
    variables = jax.device_get(loaded.variables)
    source = {"name": Path(checkpoint).name, "sha256": folder.digest(variables)}
    folder.check_out(out, source)
    described = folder.description(model, options, source, None, batch)
    out = out.absolute()
    remove_leftovers(out)
    unfinished = unfinished_name(out)
    try:
        unfinished.mkdir()
        folded = fold(model.config, variables)
        described["graphs"]["float32"] = {
            "step": folder.save_graph(step_model(model.config, folded, options, batch), unfinished / "step.onnx"),
            "template": folder.save_graph(template_model(model.config, folded, batch), unfinished / "template.onnx"),
        }
        folder.write_description(unfinished, described)
        os.replace(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return described
