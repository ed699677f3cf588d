"""Uploads a checkpoint to the Hugging Face hub: what `relo push` does.

    model.safetensors    the weights under the release's names, float32; its header has the model's config, the
                         tracker's options and the calibration of the score (see `pytorch.export`)
    README.md            the model card, with the hub's header
    card.json, metrics.json   the same for programs, as far as the checkpoint has them
    config.json          the whole config of the run

All of it is one commit: a reader sees the old checkpoint or the new one.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relo_jax.checkpoints import hub, load, model_card
from relo_jax.checkpoints.model_card_page import page
from relo_jax.checkpoints.provenance import session
from relo_jax.checkpoints.pytorch import export
from relo_jax.checkpoints.run_directory import CONFIG_FILE, STARTERS
from relo_jax.errors import UserError
from relo_jax.model import count_parameters

PACKAGED_LICENSE = "apache-2.0"  # of the small models in the package


@dataclass(frozen=True)
class Published:
    """What was uploaded: the page of the commit or repository, names and bytes of the files, and the licence."""

    page: str
    files: dict[str, int]
    license: str | None


def push(
    checkpoint: str | Path,
    address: str,
    license: str | None = None,
    private: bool = False,
    message: str | None = None,
) -> Published:
    """Uploads a checkpoint; makes the repository, and the branch, if they do not exist.

    Args:
      checkpoint: see `load.load`.
      address: `hf://org/name`, or `hf://org/name@branch`.
      license: of the weights, by the hub's identifiers ("apache-2.0", "cc-by-nc-4.0"); None names none, but for a
        model of the package.
      private: whether a new repository is private.
      message: of the commit.

    Raises:
      UserError: a bad checkpoint or address; nobody is logged in; no permission; no network.
    """
    parsed, client = hub.parse(address), hub.client()
    if parsed.file is not None:
        raise UserError(f"{address} names a file: give the repository, hf://{parsed.repo}")
    if client.constants.HF_HUB_OFFLINE:
        raise UserError(f"{address}: HF_HUB_OFFLINE=1 forbids the network: unset it to upload")
    if client.get_token() is None:
        raise UserError(f"{address}: nobody is logged in: `hf auth login`, or set HF_TOKEN to a token that may write")
    license = license or (PACKAGED_LICENSE if str(checkpoint) in STARTERS else None)
    with tempfile.TemporaryDirectory(prefix="relo-push-") as folder:
        files = write_files(Path(folder), checkpoint, parsed.repo, license)
        api = client.HfApi(library_name="relo_jax")
        with hub.one_line(parsed):
            api.create_repo(parsed.repo, private=private, exist_ok=True)
            if parsed.revision is not None:
                api.create_branch(parsed.repo, branch=parsed.revision, exist_ok=True)
            message = message or f"RELO checkpoint {Path(checkpoint).name}"
            commit = api.upload_folder(
                repo_id=parsed.repo, folder_path=folder, revision=parsed.revision, commit_message=message
            )
    return Published(str(getattr(commit, "commit_url", commit)), files, license)


def write_files(folder: Path, checkpoint: str | Path, repo: str, license: str | None = None) -> dict[str, int]:
    """Writes what a repository has into a folder. Returns names and sizes in bytes."""
    loaded = load.load(checkpoint)
    export.write(folder / hub.WEIGHTS, loaded.model, loaded.variables, loaded.config, load.has_policy(loaded))
    (folder / CONFIG_FILE).write_text(json.dumps(loaded.config, indent=2) + "\n")
    known = model_card.of_checkpoint(checkpoint)
    metrics = known.pop("metrics", None)
    card = _complete(known, loaded)
    (folder / hub.CARD).write_text(json.dumps(card, indent=2) + "\n")
    if metrics is not None:
        (folder / model_card.METRICS_SUMMARY_FILE).write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / "README.md").write_text(page(card, metrics, repo, license))
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def _complete(card: dict[str, Any], loaded: load.Loaded) -> dict[str, Any]:
    """A card with what the page needs: a file without a card, such as a `.pth.tar`, has a name and a digest only."""
    if "variant" in card:
        return card
    parameters = model_card.named_parameters(count_parameters(loaded.variables))
    found = {"variant": loaded.model.config.variant, "stage": None, "parameters": parameters, "parent": None}
    return {**found, **card, "sessions": [session()]}
