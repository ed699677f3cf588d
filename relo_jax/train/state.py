"""Train state and optimiser: only the trained parameters have gradients and moments; the others are inputs.

The warm-up trains encoder and regression head. The RL stage trains policy and value head on frozen features, or more
with `rl.train`. A part of the model is named by its path in the parameters: "encoder", "regression/center".
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from relo_jax.errors import UserError
from relo_jax.train.mesh import constrain, split_batch


def trained(config: ConfigDict) -> tuple[str, ...]:
    """Paths of the parts of the model that a run trains. Reads `stage`, `warmup.train` and the section `rl`.

    The RL stage trains the box towers of the regression head only together with the encoder and if its loss has a box
    term (`rl.box_weight`).
    """
    if config.stage == "warmup":
        return ("regression/center",) if config.warmup.train == "center" else ("encoder", "regression")
    encoder = {"heads": (), "last_blocks": ("encoder/blocks", "encoder/fc_norm"), "all": ("encoder",)}[config.rl.train]
    boxes = ("regression/offset", "regression/size") if encoder and config.rl.box_weight else ()
    return *encoder, *boxes, "policy", "value"


def mask_frozen_blocks(config: ConfigDict, tree: dict) -> dict:
    """Zeroes gradients or updates of the main blocks that `rl.train = "last_blocks"` freezes; else returns the tree.

    The blocks are stacked in arrays `[L, ...]`, which the optimiser trains as a whole: frozen blocks have gradients and
    moments, which stay 0. Weight decay moves parameters without a gradient, so updates need the mask too.
    """
    if config.stage != "rl" or config.rl.train != "last_blocks":
        return tree
    zeroed = lambda x: x.at[: -config.rl.train_blocks].set(0)
    return merge(tree, {"encoder": {"blocks": jax.tree.map(zeroed, tree["encoder"]["blocks"])}})


def split(params: dict, paths: Iterable[str]) -> tuple[dict, dict]:
    """Splits parameters (or running statistics) into those that the paths name, and the rest.

    Args:
      params: nested dict.
      paths: of modules or single arrays, with "/" between the names; paths that do not exist are ignored.

    Returns:
      named, rest: nested dicts; `merge(rest, named)` is `params` again.
    """
    flat = flatten_dict(params, sep="/")
    is_named = {name: any(f"{name}/".startswith(f"{path}/") for path in paths) for name in flat}
    part = lambda named: unflatten_dict({name: x for name, x in flat.items() if is_named[name] == named}, sep="/")
    return part(True), part(False)


def merge(rest: dict, named: dict) -> dict:
    """Joins two nested dicts; an array that is in both is taken from the second."""
    return unflatten_dict(flatten_dict(rest) | flatten_dict(named))


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step reads and writes.

    Attributes:
      step: int32 `[]`, number of updates done.
      params: trained parameters, see `trained`.
      frozen_params: the other parameters.
      batch_stats: running statistics of all heads.
      opt_state: optax state of `params`.
      key: base PRNG key; each step folds in its number.
      halted: bool `[]`; true once a step was not finite, after which nothing changes.
    """

    step: jax.Array
    params: dict
    frozen_params: dict
    batch_stats: dict
    opt_state: optax.OptState
    key: jax.Array
    halted: jax.Array


Arrays = dict[str, jax.Array]
# (params, state, batch, key) -> (loss, (batch_stats, metrics))
LossFn = Callable[[dict, TrainState, Any, jax.Array], tuple[jax.Array, tuple[dict, Arrays]]]
Step = Callable[[TrainState, Any], tuple[TrainState, Arrays]]


def warmup_steps(config: ConfigDict) -> int:
    """Steps over which the learning rate warms up: a tenth of a run that has no more than those of the config."""
    given, total = config.optimizer.warmup_steps, config.total_steps
    return given if given < total else min(math.ceil(total / 10), total - 1)


def learning_rate_schedule(config: ConfigDict, peak: float) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then constant with one drop by 10 ("step") or a cosine to 0 ("cosine").

    Args:
      config: reads `optimizer`, `total_steps` and `batch_size`.
      peak: the rate for batches of `optimizer.reference_batch` clips; `optimizer.scaling` scales it for other sizes.
    """
    opt, total, warmup = config.optimizer, config.total_steps, warmup_steps(config)
    peak *= (config.batch_size / opt.reference_batch) ** {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[opt.scaling]
    if opt.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, total)
    constant = optax.piecewise_constant_schedule(peak, {int(total * opt.drop_at): 0.1})
    if not warmup:
        return constant
    return lambda step: constant(step) * jnp.minimum(1.0, (step + 1) / warmup)


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW with global-norm clipping and a separate learning rate for the encoder, as in the release.

    In the RL stage, a regression head that is trained has the encoder's rate: both come from the warm-up.
    """
    opt = config.optimizer
    at_encoder_rate = {"encoder", "regression"} if config.stage == "rl" else {"encoder"}
    adamw = lambda rate: optax.adamw(learning_rate_schedule(config, rate), weight_decay=opt.weight_decay)
    by_module = optax.multi_transform(
        {"encoder": adamw(opt.encoder_learning_rate), "heads": adamw(opt.learning_rate)},
        lambda params: {name: "encoder" if name in at_encoder_rate else "heads" for name in params},
    )
    return optax.chain(optax.clip_by_global_norm(opt.clip_norm), by_module) if opt.clip_norm else by_module


def create_state(
    config: ConfigDict, variables: dict, key: jax.Array
) -> tuple[TrainState, optax.GradientTransformation]:
    """Splits variables into trained and frozen ones and starts the optimiser.

    Args:
      config: the run's config.
      variables: `{"params", "batch_stats"}` of the whole model.
      key: base PRNG key of the run.

    Returns:
      The state, and the optimiser.

    Raises:
      UserError: `rl.train_blocks` is larger than the number of main blocks.
    """
    params, frozen = split(variables["params"], trained(config))
    depth = len(variables["params"]["encoder"]["blocks"]["gamma1"])
    if config.stage == "rl" and config.rl.train == "last_blocks" and config.rl.train_blocks > depth:
        raise UserError(f"config.rl.train_blocks is {config.rl.train_blocks}, but the encoder has {depth} main blocks")
    tx = optimizer(config)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        frozen_params=frozen,
        batch_stats=variables["batch_stats"],
        opt_state=tx.init(params),
        key=key,
        halted=jnp.zeros((), bool),
    )
    return state, tx


def variables_of(state: TrainState) -> dict:
    """The whole model's `{"params", "batch_stats"}`."""
    return {"params": merge(state.frozen_params, state.params), "batch_stats": state.batch_stats}


def step_key(state: TrainState) -> jax.Array:
    """The PRNG key of the next update."""
    return jax.random.fold_in(state.key, state.step)


def make_update(config: ConfigDict, tx: optax.GradientTransformation, loss_fn: LossFn, parts: int = 1) -> Step:
    """An update, `update(state, batch) -> (state, metrics)`, to be compiled.

    A step whose loss or gradient is not finite reports `finite = False`, and neither it nor any later step changes the
    state: the host checks `finite` only now and then, and must find the last good state.

    Args:
      config: the run's config.
      tx: the optimiser of `state.params`.
      loss_fn: the loss of a batch, or of a part of one; of clips, or of their features.
      parts: gradient accumulation, see `averaged`.

    Returns:
      The update. Its metrics are float32 scalars on the device, `loss` and `grad_norm` among them, and `finite` (bool).
    """
    in_place = functools.partial(constrain, shard_params=config.mesh.shard_params)
    grad_fn = averaged(jax.value_and_grad(loss_fn, has_aux=True), parts, in_place, config.group_size)

    def update(state, batch):
        (loss, (batch_stats, metrics)), grads = grad_fn(state.params, state, batch, step_key(state))
        grads = mask_frozen_blocks(config, grads)
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, mask_frozen_blocks(config, updates))
        moved = (state.step + 1, params, batch_stats, opt_state)
        kept = (state.step, state.params, state.batch_stats, state.opt_state)
        moves = finite & ~state.halted
        count, params, batch_stats, opt_state = in_place(jax.tree.map(lambda a, b: jnp.where(moves, a, b), moved, kept))
        state = state.replace(step=count, params=params, batch_stats=batch_stats, opt_state=opt_state, halted=~moves)
        return state, {**metrics, "loss": loss, "grad_norm": grad_norm, "finite": finite}

    return update


def make_step_on_features(features: Callable[[dict, Any, jax.Array], Any], update: Step) -> Step:
    """The jitted update of heads on a frozen encoder, which donates the state's buffers.

    Args:
      features: `features(variables, batch, key)`, what the heads see of a batch; key: of the step, see `step_key`.
      update: see `make_update`; takes the features in the place of a batch.
    """

    def step(state, batch):
        return update(state, features(variables_of(state), batch, step_key(state)))

    return jax.jit(step, donate_argnums=0)


def averaged(grad_fn: Callable, parts: int, in_place: Callable[[Any], Any], group: int = 0) -> Callable:
    """Gradient accumulation: `grad_fn` of the parts of a batch, one after the other, averaged.

    Where the loss is a mean over clips, the gradient equals that of the whole batch. Whatever normalises over a batch
    normalises over each part: the BatchNorm of trained heads, standardised advantages, and the number of peaks in the
    release's focal loss. The running statistics move once, by the mean over the parts. Where all of this is done in
    groups of clips (`config.group_size`), a part has whole groups, and nothing differs from the whole batch: the
    running statistics, too, are those of the first group.

    Args:
      grad_fn: `(params, state, batch, key) -> ((loss, (batch_stats, metrics)), gradients)`.
      parts: their number; 1 returns `grad_fn` with its gradients `in_place`.
      in_place: keeps the gradients of each part on the devices of the parameters.
      group: clips of a group; 0: each part is one.
    """
    if parts == 1:
        return lambda *args: _second(in_place, grad_fn(*args))

    def over_parts(params, state, batch, key):
        def add(total, inputs):
            part, index = inputs
            value = grad_fn(params, state, part, jax.random.fold_in(key, index))
            batch_stats = value[0][1][0] if group else None
            return jax.tree.map(jnp.add, total, _second(in_place, value)), batch_stats

        split = split_batch(batch, parts, group or 1)
        like = jax.eval_shape(grad_fn, params, state, jax.tree.map(lambda x: x[0], split), key)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        total, batch_stats = jax.lax.scan(add, _second(in_place, zeros), (split, jnp.arange(parts)))
        (loss, (mean_stats, metrics)), grads = jax.tree.map(lambda x: x / parts, total)
        first_stats = jax.tree.map(lambda x: x[0], batch_stats)
        return (loss, (first_stats if group else mean_stats, metrics)), grads

    return over_parts


def _second(function, pair):
    return pair[0], function(pair[1])
