"""A run directory: one layout for trained, resumed and converted models.

runs/b256/card.json, MODEL_CARD.md    where it comes from, see `relo_jax.checkpoints.model_card`
runs/b256/config.json                 the whole config; section "model" rebuilds the model, "tracker" its defaults
runs/b256/metrics.jsonl               a line for each step that was logged
runs/b256/checkpoints/<step>/         one Orbax checkpoint a step, complete or absent (Orbax renames it into place)
    variables                         {"params", "batch_stats"}, all of them, trained or frozen
    train                             optimiser state and step; absent in a converted checkpoint
    data                              JSON, the position in the data; absent in a converted checkpoint
"""

import json
import shutil
from pathlib import Path

import jax
import orbax.checkpoint as ocp
import tensorstore as ts

from relo_jax.config.renamed import with_current_names
from relo_jax.errors import UserError
from relo_jax.files import atomic_write

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
VARIABLES, TRAIN, DATA = "variables", "train", "data"
_PACKAGED = Path(__file__).parent / "starter"
STARTERS = {  # "starter-warmup": what demo and studies begin with
    "starter": _PACKAGED / "mini.msgpack",
    "starter-tiny": _PACKAGED / "tiny.msgpack",
    "starter-warmup": _PACKAGED / "tiny_warmup.msgpack",
}


def manager(path, *, keep=None):
    """The Orbax manager of a run directory's checkpoints; saving is asynchronous and atomic.

        with checkpoint.manager(path, keep=3) as manager:
            manager.save(step, args=ocp.args.Composite(
                variables=ocp.args.StandardSave(...), train=ocp.args.StandardSave(...), data=ocp.args.JsonSave(...)))

    Args:
      path: run directory.
      keep: number of newest steps kept, None for all.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, cleanup_tmp_directories=True)
    handlers = {**training_handlers(), VARIABLES: ocp.StandardCheckpointHandler()}
    return ocp.CheckpointManager(Path(path).absolute() / CHECKPOINTS, options=options, item_handlers=handlers)


def training_handlers():
    """The items that only a running training reads."""
    return {TRAIN: ocp.StandardCheckpointHandler(), DATA: ocp.JsonCheckpointHandler()}


def write_config(path, config):
    """Writes `config` (a JSON-able dict) as the run directory's config, atomically."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with atomic_write(path / CONFIG_FILE) as file:
        file.write_text(json.dumps(config, indent=2))


def read_config(path):
    """The config of a run directory.

    Raises:
      UserError: there is none, or it is not JSON.
    """
    return read_json(Path(path) / CONFIG_FILE)


def read_json(file):
    """A config, with today's names. Raises UserError when there is none, or it is not JSON."""
    try:
        return with_current_names(json.loads(file.read_text()), file)
    except FileNotFoundError:
        raise UserError(f"{file.parent} has no {file.name}: it is not a checkpoint of relo train or convert") from None
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}): restore it, or convert the checkpoint again") from None


def read_metrics(workdir, split="train"):
    """Rows of a run's metrics file of one split, as a list of dicts."""
    with open(Path(workdir) / METRICS_FILE) as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if row["split"] == split]


def run_and_step(path):
    """Run directory and step that a directory stands for."""
    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        return path.parent.parent, int(path.name)
    run = path.parent if path.name == CHECKPOINTS else path
    if not (run / CHECKPOINTS).is_dir():
        raise UserError(f"{run} is not a checkpoint: it has no directory {CHECKPOINTS}")
    steps = ocp.utils.checkpoint_steps(run.absolute() / CHECKPOINTS)
    if not steps:
        raise UserError(f"{run / CHECKPOINTS} holds no finished checkpoint")
    return run, max(steps)


def check_space(path, tree):
    """Raises UserError when the disk of a directory (or of its nearest parent that exists) has no room for the arrays.

    Orbax notices a full disk too, with many tracebacks.
    """
    path = next(p for p in [Path(path).absolute(), *Path(path).absolute().parents] if p.exists())
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    free = shutil.disk_usage(path).free
    if free < needed:
        raise UserError(f"no space left for a checkpoint in {path}: it needs {needed >> 20} MiB, {free >> 20} are free")


def check_free(path):
    """Raises UserError when there is something at `path` already."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists already: name a new directory, or remove it")


def check_readable(where, item):
    """Raises UserError when bytes of an item of a checkpoint are missing.

    Orbax finds that out, too, but leaves a traceback on the terminal for each of the other arrays it was reading.

    Args:
      where: directory of one step.
      item: VARIABLES or TRAIN.
    """
    try:
        store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{Path(where).absolute() / item}/"}).result()
        keys = store.list().result()
        for key in keys:
            store.read(key).result()
    except ValueError as error:
        raise damaged(where, error) from error
    if not keys:
        raise damaged(where, f"no arrays in {item}")


def damaged(where, error):
    """The UserError for a checkpoint that cannot be read."""
    return UserError(f"{where} is damaged or truncated, use another one or copy it again ({reason(error)})")


def reason(error):
    """The first line of an exception's message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
