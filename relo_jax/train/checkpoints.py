"""Checkpoints of a run in progress: saved in the background and atomically, and continued from exactly.

The layout is that of `relo_jax.checkpoints.run_directory`. A checkpoint has all variables, so that everything that
loads a model can load it, the optimiser's state and the position in the data.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict

from relo_jax.checkpoints import checksums, run_directory
from relo_jax.config import check_same_run
from relo_jax.errors import UserError
from relo_jax.tracking import confidence
from relo_jax.train.distributed import assert_same_on_hosts, together
from relo_jax.train.state import TrainState, variables_of

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # codes of errors for which there is no room


@contextlib.contextmanager
def opened(workdir: Path | str, run_config: dict, keep: int) -> Iterator[ocp.CheckpointManager]:
    """The Orbax manager of a run, new or continued; at the end of the block, waits for the last save.

    All processes of a run write its checkpoints, each the arrays on its devices, to a directory that they share.

    Args:
      workdir: run directory; created if it does not exist.
      run_config: the run's config with every field of the model; written to `config.json`.
      keep: number of newest checkpoints kept.

    Raises:
      UserError: the directory has a run with another config (names the field), or cannot be created; a full disk.
    """
    try:
        with (
            one_line_when_full(workdir),
            _made(workdir, keep),
            _failing_together(workdir),
            run_directory.manager(workdir, keep=keep) as manager,
        ):
            step = manager.latest_step()
            advice = f"{Path(workdir).absolute()} must be a directory on a disk that all of them share"
            assert_same_on_hosts("last checkpoint", step, advice)
            if step is not None:
                file = Path(workdir) / run_directory.CONFIG_FILE
                saved = run_directory.read_config(workdir)
                check_same_run(saved, run_config, file, step)
                if step == run_config["total_steps"]:
                    run_config = _with_score_of(saved, run_config)
            if jax.process_index() == 0:
                run_directory.write_config(workdir, run_config)
            yield manager
            manager.wait_until_finished()
    finally:
        # The manager is closed and saves nothing any more, so unfinished checkpoints stay unfinished.
        if jax.process_index() == 0:
            for unfinished in (Path(workdir) / run_directory.CHECKPOINTS).glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def _made(workdir, keep):
    """Makes the run directory, keeps other runs out of it, and completes a removal that a kill interrupted."""
    try:
        (Path(workdir) / run_directory.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if _is_full(error):
            raise
        raise UserError(f"{workdir} cannot be a run directory ({error.strerror}): give another --workdir") from error
    if jax.process_index():
        yield
        return
    with _locked(Path(workdir)):
        for step in run_directory.steps_of(workdir)[:-keep]:
            shutil.rmtree(Path(workdir) / run_directory.CHECKPOINTS / str(step), ignore_errors=True)
        yield


@contextlib.contextmanager
def _locked(workdir):
    """Holds a lock on the run directory, which the system takes back when the process is dead.

    Raises:
      UserError: another process holds it.
    """
    try:
        directory = os.open(workdir, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{workdir} cannot be read ({error.strerror})") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(directory)
        raise UserError(f"another process trains in {workdir}: wait until it ends, or give another --workdir") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(directory)


@contextlib.contextmanager
def _failing_together(workdir):
    """If one of several processes cannot write its part of a checkpoint, ends all of them.

    Orbax raises the error when all have written, for which it waits; but logs it at once.
    """
    logger = logging.getLogger("absl")

    def end_all(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and "orbax" in record.pathname:
            with together(), one_line_when_full(workdir):
                raise error
        return True

    if jax.process_count() > 1:
        logger.filters.insert(0, end_all)  # others may drop the record
    try:
        yield
    finally:
        logger.removeFilter(end_all)


def _with_score_of(saved, run_config):
    """The config of a finished run with the score that `relo calibrate` fitted to its weights, which do not change."""
    tracker = saved.get("tracker", {})
    if not confidence.is_calibrated(tracker):
        return run_config
    fitted = {name: tracker[name] for name in confidence.FITTED if name in tracker}
    return {**run_config, "tracker": {**run_config["tracker"], **fitted}}


def save(manager: ocp.CheckpointManager, workdir: Path | str, step: int, state: TrainState, position: dict) -> None:
    """Starts saving the state, unless the step is saved already. Its buffers may be donated afterwards.

    Args:
      manager: see `opened`.
      workdir: run directory, for messages.
      step: number of updates done; the checkpoint's name.
      state: copied before this returns.
      position: in the data after the batch of this step; JSON-able.

    Raises:
      UserError: the disk is full (now, or in the save before this one).
    """
    if step in manager.all_steps():
        return
    train = {"step": state.step, "opt_state": flax.serialization.to_state_dict(state.opt_state)}
    variables = variables_of(state)
    items = {
        run_directory.VARIABLES: ocp.args.StandardSave(variables),
        run_directory.TRAIN: ocp.args.StandardSave(train),
        run_directory.DATA: ocp.args.JsonSave(position),
    }
    with one_line_when_full(workdir):
        manager.wait_until_finished()  # as Orbax would; now the free space is known
        run_directory.check_space(workdir, (variables, train))
        manager.save(step, args=ocp.args.Composite(**items))


def restore(
    manager: ocp.CheckpointManager, like: TrainState, shardings: TrainState, key: jax.Array
) -> tuple[TrainState, dict]:
    """The state of the last checkpoint and its position in the data.

    Args:
      manager: see `opened`.
      like: the state as ShapeDtypeStructs.
      shardings: of the arrays of the state; they may differ from those that it was saved with.
      key: the run's base key, which is not saved because the config determines it.

    Raises:
      UserError: the checkpoint is damaged.
    """
    step = manager.latest_step()
    for item in (run_directory.VARIABLES, run_directory.TRAIN, run_directory.DATA):
        _check_item(manager.directory / str(step), item)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    like = jax.tree.map(place, like, shardings)
    train = {"step": like.step, "opt_state": flax.serialization.to_state_dict(like.opt_state)}
    items = {
        run_directory.VARIABLES: ocp.args.StandardRestore(variables_of(like)),
        run_directory.TRAIN: ocp.args.StandardRestore(train),
        run_directory.DATA: ocp.args.JsonRestore(),
    }
    try:
        restored = manager.restore(step, args=ocp.args.Composite(**items))
    except Exception as error:
        # The checkpoint is whole, but has the arrays of another optimiser.
        if re.search("structures? (mismatch|do not match)", str(error), re.IGNORECASE):
            raise UserError(
                f"{manager.directory / str(step)} was made by another version, which saved other arrays: "
                "start a new run from it with --config.init_from"
            ) from error
        raise UserError(
            f"{manager.directory / str(step)} cannot be read: remove it to continue from the checkpoint before it"
        ) from error
    variables, train = restored[run_directory.VARIABLES], restored[run_directory.TRAIN]
    flat = flatten_dict(variables["params"])
    pick = lambda like: unflatten_dict({name: flat[name] for name in flatten_dict(like)})
    state = like.replace(
        step=train["step"],
        params=pick(like.params),
        frozen_params=pick(like.frozen_params),
        batch_stats=variables["batch_stats"],
        opt_state=flax.serialization.from_state_dict(like.opt_state, train["opt_state"]),
        key=jax.device_put(key, shardings.key),
        halted=jax.device_put(np.zeros((), bool), shardings.halted),
    )
    return state, restored[run_directory.DATA]


def _check_item(step, item):
    """Raises UserError if an item of a step is not as it was saved."""
    changed = checksums.damage(step, item)
    if changed is not None:
        raise UserError(f"{step} cannot be read: {changed}: remove it to continue from the checkpoint before it")


@contextlib.contextmanager
def one_line_when_full(workdir: Path | str) -> Iterator[None]:
    """Turns the error of a full disk into a UserError."""
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        raise UserError(
            f"no space left on the disk of {workdir} while saving, or a quota or limit (ulimit -f) is reached: make "
            "room and start the same command again; it continues from the last whole checkpoint"
        ) from error


def _is_full(error):
    while error is not None:
        if any(getattr(error, "errno", None) == code or os.strerror(code) in str(error) for code in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
