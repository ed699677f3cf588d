"""Checkpoints on disk: one layout for trained, resumed and converted models (issue: "The spine", Training).

    runs/b256/config.json                 the whole config; section "model" rebuilds the model, "tracker" its defaults
    runs/b256/checkpoints/<step>/         one Orbax checkpoint a step, complete or absent (Orbax renames it into place)
        variables                         {"params", "batch_stats"}, all of them, trained or frozen
        train                             optimiser state, step and key; absent in a converted checkpoint
        data                              JSON, the position in the data; absent in a converted checkpoint

`save_variables` writes such a directory whole or not at all; `load` reads it, one of its steps, a file of the PyTorch
release, or the starter that comes with the package.
"""

import json
import os
import tempfile
from pathlib import Path

import orbax.checkpoint as ocp

from relo_jax.errors import UserError

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
VARIABLES, TRAIN, DATA = "variables", "train", "data"


def manager(path, *, keep=None, read_only=False):
    """The Orbax manager of a run directory's checkpoints; saving is asynchronous and atomic.

        with checkpoint.manager(path, keep=3) as manager:
            manager.save(step, args=ocp.args.Composite(
                variables=ocp.args.StandardSave(...), train=ocp.args.StandardSave(...), data=ocp.args.JsonSave(...)))

    Args:
      path: run directory.
      keep: number of newest steps kept, None for all.
      read_only: neither creates the directory nor deletes anything.
    """
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=not read_only, read_only=read_only, cleanup_tmp_directories=not read_only
    )
    handlers = {
        VARIABLES: ocp.StandardCheckpointHandler(),
        TRAIN: ocp.StandardCheckpointHandler(),
        DATA: ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(Path(path).absolute() / CHECKPOINTS, options=options, item_handlers=handlers)


def write_config(path, config):
    """Writes `config` (a JSON-able dict) as the run directory's config, atomically."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path, prefix=CONFIG_FILE, delete=False) as file:
        json.dump(config, file, indent=2)
    os.replace(file.name, path / CONFIG_FILE)


def read_config(path):
    """The config of a run directory.

    Raises:
      UserError: there is none, or it is not JSON.
    """
    file = Path(path) / CONFIG_FILE
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} has no {CONFIG_FILE}: it is not a run directory of relo train or relo convert") from None
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}): restore it or convert the checkpoint again") from None
