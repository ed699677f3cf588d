"""Train state and optimiser: only what a stage trains has gradients and moments; the rest is an input.

Warm-up trains encoder and regression; the RL stage trains policy and value on frozen features, or more with `rl.train`.
A part of the model is named by its path in the parameters: "encoder", "regression/center".
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from relo_jax.errors import UserError
from relo_jax.train.mesh import constrain, split_batch


def trained(config):
    """Paths of the parts of the model that a run trains; `stage`, `warmup.train` and section `rl` are read.

    Of the regression head, the RL stage trains what its loss asks: the boxes, where they have a weight.
    """
    if config.stage == "warmup":
        return ("regression/center",) if config.warmup.train == "center" else ("encoder", "regression")
    encoder = {"heads": (), "last_blocks": ("encoder/blocks", "encoder/fc_norm"), "all": ("encoder",)}[config.rl.train]
    boxes = ("regression/offset", "regression/size") if encoder and config.rl.box_weight else ()
    return *encoder, *boxes, "policy", "value"


def mask_frozen_blocks(config, tree):
    """Zeroes what gradients or updates have for main blocks before the last `rl.train_blocks`, with "last_blocks".

    The blocks are rows of stacked arrays `[L, ...]`, which are trained as wholes: their gradients are computed, and the
    optimiser has moments for them, which stay 0. Weight decay makes updates without gradients, so those are held too.
    """
    if config.stage != "rl" or config.rl.train != "last_blocks":
        return tree
    zeroed = lambda x: x.at[: -config.rl.train_blocks].set(0)
    return merge(tree, {"encoder": {"blocks": jax.tree.map(zeroed, tree["encoder"]["blocks"])}})


def split(params, paths):
    """Parameters (or running statistics) in two: what the paths name, and the rest.

    Args:
      params: nested dict.
      paths: of modules or single arrays, "/" between the names; those that are not there name nothing.

    Returns:
      named, rest: nested dicts, of which `merge(rest, named)` is the whole again.
    """
    flat = flatten_dict(params, sep="/")
    is_named = {name: any(f"{name}/".startswith(f"{path}/") for path in paths) for name in flat}
    part = lambda wanted: unflatten_dict({name: x for name, x in flat.items() if is_named[name] == wanted}, sep="/")
    return part(True), part(False)


def merge(rest, named):
    """Two nested dicts in one; of an array that both have, the second's counts."""
    return unflatten_dict(flatten_dict(rest) | flatten_dict(named))


@flax.struct.dataclass
class TrainState:
    """Everything that a step reads and writes.

    Attributes:
      step: int32 `[]`, updates done.
      params: trained part of the parameters, see `trained`.
      frozen_params: the rest.
      batch_stats: running statistics of all heads.
      opt_state: optax state of `params` alone.
      key: base PRNG key; a step folds its number in and never advances it.
      halted: bool `[]`, a step was not finite: from there on nothing moves.
    """

    step: jax.Array
    params: dict
    frozen_params: dict
    batch_stats: dict
    opt_state: optax.OptState
    key: jax.Array
    halted: jax.Array


def learning_rate_schedule(config, peak):
    """Learning rate by step: linear warm-up, then constant with one drop by 10 ("step") or a cosine to 0 ("cosine").

    Args:
      config: `optimizer`, `total_steps` and `batch_size` are read.
      peak: the rate for batches of `optimizer.reference_batch` clips; `optimizer.scaling` says what it is for others.
    """
    opt, total = config.optimizer, config.total_steps
    peak *= (config.batch_size / opt.reference_batch) ** {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[opt.scaling]
    if opt.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0 if opt.warmup_steps else peak, peak, opt.warmup_steps, total)
    constant = optax.piecewise_constant_schedule(peak, {int(total * opt.drop_at): 0.1})
    if not opt.warmup_steps:
        return constant
    return lambda step: constant(step) * jnp.minimum(1.0, (step + 1) / opt.warmup_steps)


def optimizer(config):
    """AdamW with global-norm clipping; the encoder has a learning rate of its own (spec, "Warm-up").

    In the RL stage so has the boxes' head, where it learns: it comes from the warm-up like the encoder.
    """
    opt = config.optimizer
    at_encoder_rate = {"encoder", "regression"} if config.stage == "rl" else {"encoder"}
    adamw = lambda rate: optax.adamw(learning_rate_schedule(config, rate), weight_decay=opt.weight_decay)
    by_module = optax.multi_transform(
        {"encoder": adamw(opt.encoder_learning_rate), "heads": adamw(opt.learning_rate)},
        lambda params: {name: "encoder" if name in at_encoder_rate else "heads" for name in params},
    )
    return optax.chain(optax.clip_by_global_norm(opt.clip_norm), by_module) if opt.clip_norm else by_module


def create_state(config, variables, key):
    """Splits variables into trained and frozen ones and starts the optimiser.

    Args:
      config: the run's config; `optimizer` and what `trained` reads are read.
      variables: `{"params", "batch_stats"}` of the whole model.
      key: base PRNG key of the run.

    Returns:
      TrainState, the optax transformation.

    Raises:
      UserError: more blocks are to be trained than there are.
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


def variables_of(state):
    """The whole model's `{"params", "batch_stats"}` from a TrainState."""
    return {"params": merge(state.frozen_params, state.params), "batch_stats": state.batch_stats}


def make_step(config, tx, loss_fn, parts=1):
    """A jitted update, `step(state, batch) -> (state, metrics)`; the state's buffers are donated.

    A step whose loss or gradient is not finite changes nothing but reports `finite = False`, and no later step changes
    anything either: the host looks at `finite` only now and then, and must find the last good state.

    Args:
      config: `mesh.shard_params` is read, and what `mask_frozen_blocks` reads.
      tx: optax transformation for `state.params`.
      loss_fn: `(params, state, batch, key) -> (loss, (batch_stats, metrics))`, of a batch or a part of one.
      parts: gradient accumulation, see `averaged`.

    Returns:
      The step. Metrics are float32 scalars on the device; among them `loss`, `grad_norm` and `finite` (bool).
    """
    in_place = functools.partial(constrain, shard_params=config.mesh.shard_params)
    grad_fn = averaged(jax.value_and_grad(loss_fn, has_aux=True), parts, in_place)

    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        (loss, (batch_stats, metrics)), grads = grad_fn(state.params, state, batch, key)
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

    return jax.jit(step, donate_argnums=0)


def averaged(grad_fn, parts, in_place):
    """Gradient accumulation: a batch goes through `grad_fn` in parts, one after the other, and the mean counts.

    Every clip weighs the same, so the gradient is that of the whole batch as far as the loss is a mean over clips. What
    normalises over a batch normalises over each part: the BatchNorm of trained heads, standardised advantages, and the
    number of peaks in the release's focal loss. The running statistics move once, by the mean of what the parts saw.

    Args:
      grad_fn: `(params, state, batch, key) -> ((loss, aux), gradients)`.
      parts: their number; 1 leaves everything as it is.
      in_place: keeps the gradients of each part where the parameters lie.
    """
    if parts == 1:
        return lambda *args: _second(in_place, grad_fn(*args))

    def over_parts(params, state, batch, key):
        def add(total, inputs):
            part, index = inputs
            value = grad_fn(params, state, part, jax.random.fold_in(key, index))
            return jax.tree.map(jnp.add, total, _second(in_place, value)), None

        split = split_batch(batch, parts)
        like = jax.eval_shape(grad_fn, params, state, jax.tree.map(lambda x: x[0], split), key)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        total, _ = jax.lax.scan(add, _second(in_place, nothing), (split, jnp.arange(parts)))
        return jax.tree.map(lambda x: x / parts, total)

    return over_parts


def _second(function, pair):
    return pair[0], function(pair[1])
