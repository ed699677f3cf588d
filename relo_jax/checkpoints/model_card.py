"""The model card: the origin of a checkpoint, as JSON for programs and as a page for people.

    runs/b256/card.json       the model, fingerprints of its data, code and packages of every session, its parent
    runs/b256/metrics.json    metrics of the last held-out evaluation and of the last training steps
    runs/b256/MODEL_CARD.md   both as text, written again whenever they change

`relo train`, `relo demo` and `relo convert` write them. `relo eval` writes the card beside its results, with metrics
and config of the checkpoint, the code that evaluated it and a fingerprint of the data.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relo_jax.checkpoints import hub
from relo_jax.checkpoints.model_card_page import page
from relo_jax.checkpoints.provenance import session
from relo_jax.checkpoints.run_directory import CHECKPOINTS, STARTERS
from relo_jax.files import atomic_write

if TYPE_CHECKING:
    from relo_jax.model import RELO

CARD_FILE, METRICS_SUMMARY_FILE, PAGE_FILE = "card.json", "metrics.json", "MODEL_CARD.md"
_PARTS = {"regression": "regression head", "policy": "policy head", "value": "value head"}


def begin_training(
    workdir: Path | str, config: dict[str, Any], parameters: dict[str, int], clips: str, held_out: str, first_step: int
) -> None:
    """Writes the card of a new run, or adds this session to the card of a run that continues.

    Args:
      workdir: run directory.
      config: the run's.
      parameters: see `relo_jax.model.count_parameters`.
      clips, held_out: fingerprints of the clips of training and evaluation (`ClipSource.fingerprint`).
      first_step: number of steps done before.

    Raises:
      UserError: the card cannot be written.
    """
    before = read(workdir) if first_step else {}
    data = {"name": config["data"]["name"], "weights": list(config["data"]["weights"]), "seed": config["data"]["seed"]}
    card = {
        "kind": "trained",
        "variant": config["model"]["variant"],
        "stage": config["stage"],
        "parameters": named_parameters(parameters),
        "total_steps": config["total_steps"],
        "batch_size": config["batch_size"],
        "data": {**data, "fingerprint": clips, "held_out_fingerprint": held_out},
        "parent": of_checkpoint(config["init_from"]) if config["init_from"] else None,
        "sessions": [*before.get("sessions", []), session(first_step=first_step)],
    }
    write(workdir, card, _read_json(Path(workdir) / METRICS_SUMMARY_FILE) if first_step else None)


def write_metrics(workdir: Path | str, step: int, train: dict[str, float], held_out: dict[str, float]) -> None:
    """Writes `metrics.json` and the page.

    Args:
      workdir: run directory, with a card.
      step: number of steps done.
      train: means over the last steps.
      held_out: means of the last evaluation; {} if there was none.

    Raises:
      UserError: the files cannot be written.
    """
    metrics = {"step": step, "train": train, "held_out": held_out}
    write(workdir, read(workdir), metrics)


def of_converted(path: Path | str, model: RELO, parameters: dict[str, int], kind: str) -> dict[str, Any]:
    """The card of a checkpoint that was converted from a PyTorch file of some `kind`."""
    source = {"name": Path(path).name, "sha256": _sha256(path), "kind": kind}
    return {
        "kind": "converted", "variant": model.config.variant, "stage": None, "parameters": named_parameters(parameters),
        "source": source, "parent": None, "sessions": [session()],
    }  # fmt: skip


def of_checkpoint(path: Path | str) -> dict[str, Any]:
    """The card and metrics of a checkpoint, as far as there are any; the name and digest of a file.

    Args:
      path: as for `relo_jax.checkpoint.load`.
    """
    if hub.is_address(path):
        file = hub.fetch(str(path))
        own = read(file.parent) if hub.parse(path).file is None else {}
        return {**(own or {"kind": "file"}), "name": str(path), "sha256": _sha256(file)}
    file = STARTERS.get(str(path), Path(path))
    if file.is_file():
        return {"kind": "file", "name": str(path) if str(path) in STARTERS else file.name, "sha256": _sha256(file)}
    run, step = (file.parents[1], file.name) if file.parent.name == CHECKPOINTS else (file, None)
    card = read(run) or {"kind": "run without a card"}
    metrics = _read_json(run / METRICS_SUMMARY_FILE)
    more = {"step": None if step is None else int(step), "metrics": metrics}
    return {"name": run.absolute().name, **{k: v for k, v in more.items() if v is not None}, **card}


def add_evaluation(folder: Path | str, checkpoint: dict[str, Any], config: dict[str, Any], **more: Any) -> None:
    """Writes the checkpoint's card beside results, and adds a session for this evaluation.

    Args:
      folder: of the results.
      checkpoint: its card, see `of_checkpoint`.
      config: the checkpoint's.
      more: further fields of the session.

    Raises:
      UserError: the card cannot be written.
    """
    sessions = [*read(folder).get("sessions", []), session(**more)]
    with atomic_write(Path(folder) / CARD_FILE) as file:
        card = {"checkpoint": {**checkpoint, "config": config}, "sessions": sessions}
        file.write_text(json.dumps(card, indent=2) + "\n")


def write(folder: Path | str, card: dict[str, Any], metrics: dict[str, Any] | None = None) -> None:
    """Writes the card, the metrics if given, and the page. Raises UserError if it cannot."""
    folder = Path(folder)
    for name, value in ((CARD_FILE, card), (METRICS_SUMMARY_FILE, metrics)):
        if value is not None:
            with atomic_write(folder / name) as file:
                file.write_text(json.dumps(value, indent=2) + "\n")
    with atomic_write(folder / PAGE_FILE) as file:
        file.write_text(page(card, metrics))


def read(folder: Path | str) -> dict[str, Any]:
    """The card of a folder; {} if there is none, or it cannot be read."""
    return _read_json(Path(folder) / CARD_FILE) or {}


def named_parameters(parameters: dict[str, int]) -> dict[str, int]:
    """Parameters by the names of the parts that pages use; see `relo_jax.model.count_parameters`."""
    return {_PARTS.get(part, part): count for part, count in parameters.items()}


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(file):
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
