"""The model card: where a checkpoint comes from, as JSON for programs and as a page for people.

    runs/b256/card.json       what it is, data and their fingerprint, code and packages of every session, its parent
    runs/b256/metrics.json    numbers of the last held-out evaluation and of the last training steps
    runs/b256/MODEL_CARD.md   the same two as text, made anew whenever they change

`relo train`, `relo demo` and `relo convert` write them; `relo eval` puts the card beside its results, with metrics and
config of the checkpoint, the code that evaluated and a fingerprint of the data. The code's revision is that of the
checkout that the package runs from, and says when files were changed after it; of an installed package it is the one
that pip noted, where it noted one.
"""

import hashlib
import json
from pathlib import Path

import jax

from relo_jax.checkpoints.model_card_page import page
from relo_jax.checkpoints.provenance import session
from relo_jax.checkpoints.run_directory import CHECKPOINTS, STARTERS
from relo_jax.files import atomic_write

CARD_FILE, METRICS_SUMMARY_FILE, PAGE_FILE = "card.json", "metrics.json", "MODEL_CARD.md"
_PARTS = {"regression": "regression head", "policy": "policy head", "value": "value head"}


def count_parameters(variables):
    """Numbers of trained parameters by part of the network: dict of int."""
    return {
        _PARTS.get(part, part): sum(leaf.size for leaf in jax.tree.leaves(tree))
        for part, tree in variables["params"].items()
    }


def begin_training(workdir, config, parameters, clips, held_out, first_step):
    """Writes the card of a run that begins, or adds this session to that of one that continues.

    Args:
      workdir: run directory.
      config: the run's, nested dict.
      parameters: see `count_parameters`.
      clips, held_out: fingerprints of what is trained on and measured with (`ClipSource.fingerprint`).
      first_step: how many steps were done before.

    Raises:
      UserError: it cannot be written.
    """
    before = read(workdir) if first_step else {}
    data = {"name": config["data"]["name"], "weights": list(config["data"]["weights"]), "seed": config["data"]["seed"]}
    card = {
        "kind": "trained",
        "variant": config["model"]["variant"],
        "stage": config["stage"],
        "parameters": parameters,
        "total_steps": config["total_steps"],
        "batch_size": config["batch_size"],
        "data": {**data, "fingerprint": clips, "held_out_fingerprint": held_out},
        "parent": of_checkpoint(config["init_from"]) if config["init_from"] else None,
        "sessions": [*before.get("sessions", []), session(first_step=first_step)],
    }
    write(workdir, card, _read_json(Path(workdir) / METRICS_SUMMARY_FILE) if first_step else None)


def write_metrics(workdir, step, train, held_out):
    """Writes `metrics.json`, and the page with it.

    Args:
      workdir: run directory, with a card.
      step: number of steps done.
      train: dict of numbers, means over the last steps. held_out: of the last evaluation; {} where there was none yet.

    Raises:
      UserError: they cannot be written.
    """
    metrics = {"step": step, "train": train, "held_out": held_out}
    write(workdir, read(workdir), metrics)


def of_converted(path, model, parameters, kind):
    """The card of a checkpoint that was converted from a PyTorch file; `kind` says what the file is."""
    source = {"name": Path(path).name, "sha256": _sha256(path), "kind": kind}
    return {
        "kind": "converted", "variant": model.config.variant, "stage": None, "parameters": parameters, "source": source,
        "parent": None, "sessions": [session()],
    }  # fmt: skip


def of_checkpoint(path):
    """What is known of a checkpoint: its card and, where there are some, its metrics (they say of which step); or of a
    file, or of a run without a card, name and digest.

    Args:
      path: as for `relo_jax.checkpoint.load`.
    """
    file = STARTERS.get(str(path), Path(path))
    if file.is_file():
        return {"kind": "file", "name": str(path) if str(path) in STARTERS else file.name, "sha256": _sha256(file)}
    run, step = (file.parents[1], file.name) if file.parent.name == CHECKPOINTS else (file, None)
    known = read(run) or {"kind": "run without a card"}
    metrics = _read_json(run / METRICS_SUMMARY_FILE)
    more = {"step": None if step is None else int(step), "metrics": metrics}
    return {"name": run.absolute().name, **{k: v for k, v in more.items() if v is not None}, **known}


def add_evaluation(folder, checkpoint, config, **more):
    """Writes the card beside results: that of the checkpoint, and who evaluated it, once for each time that they did.

    Args:
      folder: of results.
      checkpoint: see `of_checkpoint`.
      config: the checkpoint's, nested dict.
      more: what to say of this evaluation.

    Raises:
      UserError: it cannot be written.
    """
    sessions = [*read(folder).get("sessions", []), session(**more)]
    with atomic_write(Path(folder) / CARD_FILE) as file:
        card = {"checkpoint": {**checkpoint, "config": config}, "sessions": sessions}
        file.write_text(json.dumps(card, indent=2) + "\n")


def write(folder, card, metrics=None):
    """Writes card, metrics where there are some, and the page. Raises UserError."""
    folder = Path(folder)
    for name, value in ((CARD_FILE, card), (METRICS_SUMMARY_FILE, metrics)):
        if value is not None:
            with atomic_write(folder / name) as file:
                file.write_text(json.dumps(value, indent=2) + "\n")
    with atomic_write(folder / PAGE_FILE) as file:
        file.write_text(page(card, metrics))


def read(folder):
    """The card of a folder; {} where there is none, or none that can be read."""
    return _read_json(Path(folder) / CARD_FILE) or {}


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(file):
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
