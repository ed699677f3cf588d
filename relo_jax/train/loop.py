"""The story of a training run, for both stages: config, model, data, step, and what happens around them.

    relo train --config configs/relo_b256.py:warmup --workdir runs/b256-warmup
    relo train --config configs/relo_b256.py:rl --workdir runs/b256 --config.init_from=runs/b256-warmup

The device is never waited for between two log points: the next batch is read and placed while a step runs, and metrics
stay on the device until they are due. A run that was killed continues from its last checkpoint with the same numbers
as if it had not been.
"""

import contextlib
import dataclasses
import itertools
import signal
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from relo_jax import checkpoint
from relo_jax import config as config_lib
from relo_jax.data import pipeline
from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables, model_config
from relo_jax.train import checkpoints, command, log, rl, warmup
from relo_jax.train.state import TRAINED, create_state, optimizer, variables_of

_STAGES = {"warmup": warmup, "rl": rl}
_STEPS_AHEAD = 2  # steps given to the device before the oldest must be done: enough to keep it busy, few batches held


def train_and_evaluate(config, workdir):
    """Trains one stage, or continues it, and leaves checkpoints, metrics and config in `workdir`.

    Args:
      config: ConfigDict with the fields of `relo_jax.config.base()`.
      workdir: run directory; with checkpoints of the same config in it, the run continues from the last.

    Returns:
      Metrics of the last held-out evaluation (empty when there was none: nothing to do, or stopped by a signal).

    Raises:
      UserError: bad config, data or checkpoint; a loss that is not finite; a full disk.
    """
    config_lib.validate(config)
    model = RELO.from_variant(config.model.variant, **config_lib.model_overrides(config))
    run_config = {**config_lib.to_dict(config), "model": model_config(model)}
    mesh = make_mesh(config.batch_size)
    stage = _STAGES[config.stage]
    held_out, pending = {}, []
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        stop = stack.enter_context(stop_on_signal())
        manager = stack.enter_context(checkpoints.opened(workdir, run_config, config.keep_checkpoints))
        state, position = first_state(config, model, mesh, manager)
        first_step, last_step = int(state.step), config.total_steps
        step_fn, halted = halting(stage.make_step(model, config, optimizer(config)), mesh)
        eval_fn = stage.make_eval(model, config)
        feed = stack.enter_context(Feed(config, model, mesh, train=True, position=position))
        logger = stack.enter_context(log.opened(workdir, config.stage, first_step, last_step, config.batch_size))
        batch = next(feed) if first_step < last_step else None
        for step in range(first_step + 1, last_step + 1):
            with jax.transfer_guard("disallow"):
                state, halted, metrics = step_fn(state, halted, batch.arrays)
                pending.append(Pending(step, batch.index, batch.position_before, metrics))
                position = batch.position_after
                batch = next(feed) if step < last_step else None  # read and placed while the device works
                wait_for_old_steps(pending)
            logger.advance()
            last = step == last_step or stop.is_set()
            log_now, save_now, evaluate_now = (
                step % every == 0 for every in (config.log_every, config.checkpoint_every, config.eval_every)
            )
            if not (last or log_now or save_now or evaluate_now):
                continue
            rows = fetch_finite(pending, state, config, model, manager, workdir)
            pending.clear()
            logger.train(step, mean(rows))
            if last or save_now:
                checkpoints.save(manager, workdir, step, state, position)
            if evaluate_now or step == last_step:
                held_out = evaluate(config, model, mesh, eval_fn, state)
                logger.evaluation(step, held_out)
            if stop.is_set():
                break
    return held_out


def make_mesh(batch_size):
    """All devices along `data`; `model` is there for parameters too large for one device and has size 1.

    Raises:
      UserError: the batch cannot be split evenly.
    """
    devices = jax.device_count()
    if batch_size % devices:
        raise UserError(f"config.batch_size={batch_size} does not divide over {devices} devices: give a multiple")
    return jax.make_mesh((devices, 1), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto))


def first_state(config, model, mesh, manager):
    """The state to go on from and the position in the data: of the last checkpoint, or a fresh one and None."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    step_key = jax.device_put(step_key, everywhere)
    start = lambda variables: create_state(config, variables, step_key)[0]
    if manager.latest_step() is None:
        return jax.jit(start, out_shardings=everywhere)(initial_variables(config, model, init_key)), None
    like = jax.eval_shape(start, jax.eval_shape(lambda: init_variables(model, init_key)))
    return checkpoints.restore(manager, checkpoints.abstract(like, everywhere), step_key)


def initial_variables(config, model, key):
    """Fresh variables, or with `config.init_from` those of a checkpoint.

    The RL stage takes encoder and regression head of a warm-up and begins with fresh policy and value heads; from a
    checkpoint of the RL stage it takes everything.

    Raises:
      UserError: the checkpoint cannot be read or is of another variant; RL without a checkpoint.
    """
    fresh = init_variables(model, key)
    path = config.init_from
    if not path:
        if config.stage == "rl":
            raise UserError("the RL stage needs a warm-up to start from: give --config.init_from=RUN_OR_CHECKPOINT")
        return fresh
    if path.endswith(".pt"):
        from relo_jax import convert

        return convert.from_imagenet(path, model, fresh)
    loaded = checkpoint.load(path)
    check_same_shapes(loaded.variables, fresh, path, config.model.variant)
    if config.stage == "rl" and loaded.config.get("stage") == "warmup":
        heads = TRAINED["rl"]
        pick = lambda collection: {
            name: (fresh if name in heads else loaded.variables)[collection][name] for name in fresh[collection]
        }
        return {collection: pick(collection) for collection in fresh}
    return loaded.variables


def check_same_shapes(given, expected, path, variant):
    """Raises UserError naming the first parameter that is missing, unknown or of another shape."""
    given, expected = flatten_dict(given, sep="/"), flatten_dict(expected, sep="/")
    for name in sorted(given.keys() | expected.keys()):
        have, want = (tree[name].shape if name in tree else None for tree in (given, expected))
        if have != want:
            raise UserError(
                f"{path} is not a checkpoint of this {variant}: {name} is {have or 'missing'} there, "
                f"{want or 'unknown'} here; set config.model to the model it was trained with"
            )


@dataclasses.dataclass
class Batch:
    """A batch on the device, with what the host knows of it."""

    arrays: dict[str, jax.Array]
    index: np.ndarray  # [B], which clips
    position_before: Any  # of the data iterator
    position_after: Any


class Feed:
    """Batches from the pipeline, placed on the devices with clips along `data`; knows its position in the data."""

    def __init__(self, config, model, mesh, *, train, position=None):
        self._sharding = NamedSharding(mesh, PartitionSpec("data"))
        self._iterator = iter(pipeline.make_dataset(config, model, train=train))
        if position is not None:
            self._iterator.set_state(position)
        self._position = self._iterator.get_state()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._iterator.close()

    def __iter__(self):
        return self

    def __next__(self):
        arrays = dict(next(self._iterator))
        index = arrays.pop("index")
        before, self._position = self._position, self._iterator.get_state()
        place = lambda x: jax.make_array_from_process_local_data(self._sharding, x)
        return Batch({name: place(x) for name, x in arrays.items()}, index, before, self._position)


def halting(step_fn, mesh):
    """Makes a step do nothing any more after one that was not finite.

    The host looks at `finite` only when it logs; until then the state must stay the last good one.

    Args:
      step_fn: `(state, batch) -> (state, metrics)`, see `relo_jax.train.state.make_step`.
      mesh: where the flag lives.

    Returns:
      `(state, halted, batch) -> (state, halted, metrics)`, jitted, state and flag donated; the first flag.
    """

    def changing(state):
        return state.step, state.params, state.batch_stats, state.opt_state

    def step(state, halted, batch):
        moved, metrics = step_fn(state, batch)
        kept = jax.tree.map(lambda old, new: jnp.where(halted, old, new), changing(state), changing(moved))
        count, params, batch_stats, opt_state = kept
        state = state.replace(step=count, params=params, batch_stats=batch_stats, opt_state=opt_state)
        return state, halted | ~metrics["finite"], metrics

    first = jax.device_put(np.zeros((), bool), NamedSharding(mesh, PartitionSpec()))
    return jax.jit(step, donate_argnums=(0, 1)), first


@dataclasses.dataclass
class Pending:
    """A step whose metrics were not looked at yet."""

    step: int
    index: np.ndarray  # [B], clips of its batch
    position: Any  # of the data before its batch
    metrics: dict[str, jax.Array]


def wait_for_old_steps(pending):
    """Keeps the host at most a few steps ahead of the device, so that batches do not pile up there."""
    if len(pending) > _STEPS_AHEAD:
        jax.block_until_ready(pending[-1 - _STEPS_AHEAD].metrics["loss"])


def fetch_finite(pending, state, config, model, manager, workdir):
    """Metrics of the pending steps, on the host.

    Raises:
      UserError: a step was not finite; the state before it is saved, and the clips of its batch are named.
    """
    rows = jax.device_get([item.metrics for item in pending])
    for item, row in zip(pending, rows, strict=True):
        if not row["finite"]:
            checkpoints.save(manager, workdir, item.step - 1, state, item.position)
            source = pipeline.clip_source(config, model, config.stage)
            names = [source.describe(int(index)) for index in item.index]
            raise UserError(
                f"step {item.step}: loss {row['loss']}, gradient norm {row['grad_norm']}; clips {', '.join(names)}; "
                f"the last good state is checkpoint {item.step - 1} of {workdir}"
            )
    return rows


def mean(rows):
    """The mean of each metric, as Python floats."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "finite"}


def evaluate(config, model, mesh, eval_fn, state):
    """Means of the stage's metrics over the held-out batches, the same ones each time."""
    variables = variables_of(state)
    with Feed(config, model, mesh, train=False) as feed:
        rows = [eval_fn(variables, batch.arrays) for batch in itertools.islice(feed, config.eval_batches)]
    return mean(jax.device_get(rows))


@contextlib.contextmanager
def stop_on_signal():
    """An event that SIGTERM or Ctrl-C sets: the loop then saves and ends. A second signal has its usual effect."""
    stop = threading.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in signals}

    def on_signal(number, frame):
        stop.set()
        for each, handler in previous.items():
            signal.signal(each, handler)

    for number in signals:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def train_command(argv):
    """`relo train`: what follows it on the command line. Returns None; raises UserError."""
    parsed = command.parse(argv)
    if parsed is None:
        print(command.USAGE)
        return
    train_and_evaluate(*parsed)
