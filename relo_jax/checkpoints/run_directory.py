"""A run directory: one layout for trained, resumed and converted models.

runs/b256/card.json, MODEL_CARD.md    the model card, see `relo_jax.checkpoints.model_card`
runs/b256/config.json                 the whole config; section "model" rebuilds the model, "tracker" has its defaults
runs/b256/metrics.jsonl               one line per logged step
runs/b256/checkpoints/<step>/         one Orbax checkpoint per step, complete or absent (Orbax renames it into place)
    variables                         {"params", "batch_stats"}, trained and frozen
    train                             optimiser state and step; absent in a converted checkpoint
    data                              JSON, the position in the data; absent in a converted checkpoint
    checksums.json                    of the files of the step
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from relo_jax.checkpoints import checksums
from relo_jax.config.renamed import with_current_names
from relo_jax.errors import UserError, in_one_line
from relo_jax.files import atomic_write, refuse_pipe

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

_hook_of_others = [sys.unraisablehook]
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
MAX_CONFIG_BYTES = 4 << 20
VARIABLES, TRAIN, DATA = "variables", "train", "data"
_PACKAGED = Path(__file__).parent / "starter"
STARTERS = {  # demo and studies start from "starter-warmup"
    "starter": _PACKAGED / "mini.msgpack",
    "starter-tiny": _PACKAGED / "tiny.msgpack",
    "starter-warmup": _PACKAGED / "tiny_warmup.msgpack",
}


def manager(path: Path | str, *, keep: int | None = None) -> ocp.CheckpointManager:
    """The Orbax manager of a run directory's checkpoints; saving is asynchronous and atomic.

        with run_directory.manager(path, keep=3) as manager:
            manager.save(step, args=ocp.args.Composite(
                variables=ocp.args.StandardSave(...), train=ocp.args.StandardSave(...), data=ocp.args.JsonSave(...)))

    Args:
      path: run directory.
      keep: number of newest steps kept; None keeps all.
    """
    import orbax.checkpoint as ocp  # slow to import, and the starters need none of it

    folder = Path(path).absolute() / CHECKPOINTS
    _silence_echoes()

    def add_checksums() -> None:
        """Of the step that is about to get its name: one at a time is saved."""
        for unfinished in folder.glob("*.orbax-checkpoint-tmp*") if jax.process_index() == 0 else ():
            checksums.write(unfinished)

    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=True, cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=add_checksums),
    )  # fmt: skip
    handlers = {**training_handlers(), VARIABLES: ocp.StandardCheckpointHandler()}
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _silence_echoes() -> None:
    """Leaves out what libraries print about an error, such as that of a full disk, beside raising it."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_is_said_only_there)
    if sys.unraisablehook is not _without_echoes:
        _hook_of_others[:] = [sys.unraisablehook]
        sys.unraisablehook = _without_echoes


def _is_said_only_there(record: logging.LogRecord) -> bool:
    """Whether a record is no error of Orbax: it raises them too, and logs the tracebacks of all its threads."""
    is_orbax = "orbax" in record.pathname or record.name == "asyncio" and "orbax-checkpoint" in record.getMessage()
    return record.levelno < logging.ERROR or not is_orbax


def _without_echoes(ignored: sys.UnraisableHookArgs) -> None:
    """`sys.unraisablehook`, by which TensorStore's threads print.

    Orbax closes its event loop at the first array that fails, and raises. Each of the others then finds it closed. That
    traceback begins in asyncio, as no thread of Python called it.
    """
    begin = ignored.exc_traceback.tb_frame.f_code.co_name if ignored.exc_traceback else ""
    if not (isinstance(ignored.exc_value, RuntimeError) and begin == "call_soon_threadsafe"):
        _hook_of_others[0](ignored)


def training_handlers() -> dict[str, ocp.CheckpointHandler]:
    """Handlers of the items that only training reads."""
    import orbax.checkpoint as ocp

    return {TRAIN: ocp.StandardCheckpointHandler(), DATA: ocp.JsonCheckpointHandler()}


def write_config(path: Path | str, config: dict[str, Any]) -> None:
    """Writes `config` (JSON-able) as the run directory's config, atomically."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with atomic_write(path / CONFIG_FILE) as file:
        file.write_text(json.dumps(config, indent=2))


def read_config(path: Path | str) -> dict[str, Any]:
    """The config of a run directory. Raises UserError if there is none, or it is not JSON."""
    return read_json(Path(path) / CONFIG_FILE)


def read_json(file: Path) -> Any:
    """A config file with the current names of its fields. Raises UserError if there is none, or it is not JSON."""
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError(f"{file} is longer than {MAX_CONFIG_BYTES >> 20} MiB: it is not the config of a checkpoint")
        refuse_pipe(file)
        return with_current_names(json.loads(file.read_text()), file)
    except FileNotFoundError:
        raise UserError(f"{file.parent} has no {file.name}: it is not a checkpoint of relo train or convert") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror})") from None
    except RecursionError:
        raise UserError(f"{file} is nested too deeply: it is not the config of a checkpoint") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}): restore it, or convert the checkpoint again") from None


def read_metrics(workdir: Path | str, split: str = "train") -> list[dict[str, Any]]:
    """The rows of one split in a run's metrics file, without lines that a kill left incomplete."""
    with open(Path(workdir) / METRICS_FILE, errors="replace") as file:
        rows = [row for line in file if (row := metrics_row(line)) is not None]
    return [row for row in rows if row["split"] == split]


def metrics_row(line: str) -> dict[str, Any] | None:
    """The row of a line of a run's metrics file; None if it is none: cut off, or not written by training."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_row = isinstance(row, dict) and type(row.get("step")) is int and row.get("split") in ("train", "eval")
    if not is_row or not all(isinstance(value, int | float) for name, value in row.items() if name != "split"):
        return None
    return row


def run_and_step(path: Path) -> tuple[Path, int]:
    """The run directory and step that a path names: a run means its newest step. Raises UserError if there is none."""
    import orbax.checkpoint as ocp

    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        return path.parent.parent, int(path.name)
    run = path.parent if path.name == CHECKPOINTS else path
    if (run / "tracker.json").is_file():
        raise UserError(f"{run} has exported graphs: relo track and relo eval run them with --backend onnxruntime")
    if not (run / CHECKPOINTS).is_dir():
        raise UserError(f"{run} is not a checkpoint: it has no directory {CHECKPOINTS}")
    steps = ocp.utils.checkpoint_steps(run.absolute() / CHECKPOINTS)
    if not steps:
        raise UserError(f"{run / CHECKPOINTS} has no finished checkpoint")
    return run, max(steps)


def steps_of(run: Path | str) -> list[int]:
    """The steps of the finished checkpoints of a run directory, ascending.

    Orbax removes an old one file by file, so that a kill may leave a part of one that is older than those kept.
    """
    folder = Path(run) / CHECKPOINTS
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def check_space(path: Path | str, tree: Any) -> None:
    """Raises UserError if the disk of a directory (or of its nearest existing parent) has no room for the arrays.

    Orbax notices a full disk too, but prints many tracebacks.
    """
    path = next(p for p in [Path(path).absolute(), *Path(path).absolute().parents] if p.exists())
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    free = shutil.disk_usage(path).free
    if free < needed:
        raise UserError(f"no space left for a checkpoint in {path}: it needs {needed >> 20} MiB, {free >> 20} are free")


def check_free(path: Path | str) -> None:
    """Raises UserError if `path` exists already, unless it is an empty directory."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists already: give another name, or remove it")


def check_readable(where: Path, item: str) -> None:
    """Raises UserError if bytes of an item of a checkpoint are missing, or are not those that were written.

    Orbax notices the first too, but prints a traceback for each of the other arrays that it was reading.

    Args:
      where: directory of one step.
      item: VARIABLES or TRAIN.
    """
    import tensorstore as ts

    changed = checksums.damage(where, item)
    if changed is not None:
        raise damaged(where, changed)
    try:
        store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{Path(where).absolute() / item}/"}).result()
        keys = store.list().result()
        for key in keys:
            store.read(key).result()
    except ValueError as error:
        raise damaged(where, error) from error
    if not keys:
        raise damaged(where, f"no arrays in {item}")


def damaged(where: Path, error: Exception | str) -> UserError:
    """The UserError for a checkpoint that cannot be read."""
    return UserError(f"{where} is damaged or truncated: use another one, or copy it again ({reason(error)})")


def reason(error: Exception | str) -> str:
    """The first line of an exception's message."""
    return in_one_line(error)
