"""Writes the exported folder of a checkpoint, checked, and whole or not at all."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from relo_jax.checkpoints.run_directory import check_space
from relo_jax.errors import UserError, did_you_mean
from relo_jax.export import folder, parity, readme
from relo_jax.export.source import Source
from relo_jax.files import atomic_folder

__all__ = ["FORMS", "Source", "export"]

Addition = Callable[[Path, dict], None]  # (the unfinished folder, its description, which may be added to)
FORMS = {"onnx": "relo_jax.export.onnx_files", "stablehlo": "relo_jax.export.stablehlo"}  # what a graph can be
DRIVER = Path(__file__).with_name("relo_track.py")


def export(
    source: Source,
    out: Path,
    precisions: Sequence[str] = ("float32",),
    batch: int = 1,
    additions: Sequence[Addition] = (),
    form: str = "onnx",
) -> dict:
    """Writes the folder, after its graphs have been compared with relo_jax.

    Args:
      source: the checkpoint.
      out: folder that does not exist yet, or is empty.
      precisions: of the form's; float32 is written in any case.
      batch: B, targets that an ONNX step takes at a time; StableHLO takes any number, and is checked with B.
      additions: called on the unfinished folder, when it can be tracked with.
      form: of FORMS.

    Returns:
      What tracker.json has; `graphs[precision]["difference"]` is that of each output from relo_jax.

    Raises:
      UserError: an unknown precision; OUT is there already, or cannot be written; a graph is too far from relo_jax.
    """
    files = importlib.import_module(FORMS[form])
    for name in precisions:
        if name not in files.PRECISIONS:
            raise UserError(f"{form} has no precision {name!r}{did_you_mean(name, files.PRECISIONS)}")
    if batch < 1:
        raise UserError(f"batch is {batch}: give the number of targets at a time, at least 1")
    folder.check_out(out, source.checkpoint)
    names = [name for name in files.PRECISIONS if name == "float32" or name in precisions]
    check_space(out.absolute().parent, [source.loaded.variables] * len(names))
    static = batch if form == "onnx" else None
    described = folder.description(source, static)
    with atomic_folder(out) as unfinished:
        recorded = parity.record(source, batch)
        np.savez_compressed(unfinished / folder.PARITY_FILE, **recorded)  # type: ignore[arg-type]
        template = unfinished / f"template{files.SUFFIX}"
        entry = files.write_template(source, template)
        for name in names:
            path = unfinished / f"step{'' if name == 'float32' else f'.{name}'}{files.SUFFIX}"
            step = files.write_step(source, name, static, path)
            found = parity.differences({"step": files.opened(path), "template": files.opened(template)}, recorded)
            parity.check(name, found, out)
            rounded = {output: float(f"{difference:.2g}") for output, difference in found.items()}
            described["graphs"][name] = {"step": step, "template": entry, "difference": rounded}
        if form == "onnx":
            shutil.copyfile(DRIVER, unfinished / DRIVER.name)
        folder.write_description(unfinished, described)
        for add in additions:
            add(unfinished, described)
        folder.write_description(unfinished, described)
        (unfinished / "README.md").write_text(readme.page(described))
    return described
