"""Estimators of the policy gradient side by side: how much each scatters, what a step costs, and how fast it learns.

    python -m benchmarks.estimators --steps 120

The tiny starter's RL stage on procedural clips, from its warm-up with fresh heads. Encoder and regression head are
frozen, so a batch goes through them once, and every arm (estimator x seed) makes its update on the same features: arms
differ in the estimator, seeds in the heads' first weights and in the actions drawn; the clips are the same for all.
Scatter is measured where the seeds of "expected" begin, are half-way, and end: the variance of the gradient of the
policy head over draws of the actions, summed over its parameters, as a multiple of the squared length of its mean, with
raw advantages. Training has the tiny starter's standardised ones.
"""

import functools
import itertools
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.data.clips import pipeline
from relo_jax.model import init_variables
from relo_jax.train import rl
from relo_jax.train.features import encode
from relo_jax.train.state import optimizer, split

ESTIMATORS = ("reinforce", "rloo", "expected")
EVERY = 5  # steps between two looks at the held-out clips
TARGETS = (0.9, 0.95, 0.99)  # of the final greedy AUC of REINFORCE


def config_of(estimator, steps):
    """The tiny starter's RL stage with an estimator."""
    config = relo_config.starter("rl")
    config.rl.estimator, config.total_steps = estimator, steps
    config.optimizer.warmup_steps = min(config.optimizer.warmup_steps, steps // 10)
    return config


def encoder(model, config, variables):
    """A jitted `batch -> ClipFeatures` of what is frozen."""
    return jax.jit(lambda batch: encode(model, config, variables, batch))


def first_heads(model, seed):
    """Fresh heads, and running statistics of all modules."""
    fresh = init_variables(model, jax.random.key(seed))
    return split(fresh["params"], ("policy", "value"))[0], fresh["batch_stats"]


def updater(model, config):
    """A jitted update of the heads, `(heads, frames, seed, step) -> heads`, and the optimiser.

    heads: parameters, running statistics, state of the optimiser.
    """
    tx = optimizer(config)

    @jax.jit
    def update(heads, frames, seed, step):
        params, batch_stats, opt_state = heads
        key = jax.random.fold_in(jax.random.key(seed), step)
        loss = lambda p: rl.heads_loss(model, config, p, batch_stats, frames, key, step)
        gradient, (batch_stats, _) = jax.grad(loss, has_aux=True)(params)
        changes, opt_state = tx.update(gradient, opt_state, params)
        return jax.tree.map(jnp.add, params, changes), batch_stats, opt_state

    return update, tx


def greedy(model):
    """A jitted `(heads, frames) -> greedy AUC`."""

    def look(heads, frames):
        variables = {"params": heads[0], "batch_stats": heads[1]}
        return rl.greedy_metrics(model.apply(variables, frames.features, method="policy_logits"), frames)["greedy_auc"]

    return jax.jit(look)


def policy_gradient(model, config):
    """A jitted `(heads, frames, key) -> [P]`, the gradient by the policy head's parameters, of raw advantages: then
    all estimators have the same mean."""
    config = config.copy_and_resolve_references()
    config.rl.normalize_advantage = False

    def gradient(heads, frames, key):
        loss = lambda p: rl.heads_loss(model, config, p, heads[1], frames, key, 0)[0]
        return jnp.concatenate([x.ravel() for x in jax.tree.leaves(jax.grad(loss)(heads[0])["policy"])])

    return jax.jit(gradient)


def scatter(gradients, arms, frames, draws):
    """Variance over the squared length of the exact gradient, by estimator: medians over the arms (one a seed)."""
    found = {name: [] for name in gradients if name != "expected"}
    keys = jax.random.split(jax.random.key(1), draws)
    for heads in arms:
        exact = np.square(gradients["expected"](heads, frames, keys[0])).sum()
        for name, ratios in found.items():
            drawn = np.stack([gradients[name](heads, frames, key) for key in keys])
            ratios.append(float(drawn.var(0, ddof=1).sum() / exact))
    return {name: round(statistics.median(ratios), 2) for name, ratios in found.items()}


def learn(model, variables, args):
    """Trains all arms.

    Returns:
      greedy AUC on held-out clips `{estimator: [looks, seeds]}`; milliseconds of an update of the heads; scatter by the
      step it was measured at.
    """
    configs = {name: config_of(name, args.steps) for name in ESTIMATORS}
    see = encoder(model, configs["expected"], variables)
    clips = pipeline.make_dataset(configs["expected"], model).starting_at(0)
    held_out = pipeline.make_dataset(configs["expected"], model, train=False).starting_at(0)
    tests = [see(pick(next(held_out))) for _ in range(args.heldout)]
    tests = jax.tree.map(lambda *parts: jnp.concatenate(parts), *tests)
    updates = {name: updater(model, config) for name, config in configs.items()}
    gradients = {name: policy_gradient(model, config) for name, config in configs.items()}
    first = [first_heads(model, seed) for seed in range(args.seeds)]
    arms = {name: [(*heads, tx.init(heads[0])) for heads in first] for name, (_, tx) in updates.items()}
    look, auc, scattered, milliseconds = greedy(model), {name: [] for name in ESTIMATORS}, {}, {}
    for step in tqdm(range(args.steps + 1), unit="step"):
        frames = see(pick(next(clips)))
        if step % EVERY == 0:
            for name, rows in auc.items():
                rows.append([float(look(heads, tests)) for heads in arms[name]])
        if step in (0, args.steps // 2, args.steps):
            scattered[step] = scatter(gradients, arms["expected"], frames, args.draws)
        if step == args.steps // 2:
            calls = {
                name: functools.partial(update, arms[name][0], frames, 0, 0) for name, (update, _) in updates.items()
            }
            seconds = common.times(calls, args.repeats)
            milliseconds = {name: common.spread(spent) for name, spent in seconds.items()}
        if step < args.steps:
            for name, (update, _) in updates.items():
                arms[name] = [update(heads, frames, seed, step) for seed, heads in enumerate(arms[name])]
    return auc, milliseconds, scattered


def pick(batch):
    """What the network takes of a batch of the pipeline."""
    return {name: batch[name] for name in batch if name.startswith(("template_", "search_"))}


def steps_to(auc, target):
    """The first step, by seed, at which a greedy AUC is reached; None where it never is."""
    columns = zip(*auc, strict=True)
    reached = ([k * EVERY for k, value in enumerate(column) if value >= target] for column in columns)
    return [steps[0] if steps else None for steps in reached]


def main():
    args = common.arguments(__doc__, repeats=10, steps=120, seeds=3, draws=32, heldout=8)
    loaded = checkpoint.load("starter-warmup")
    auc, milliseconds, scattered = learn(loaded.model, loaded.variables, args)
    final = {name: statistics.mean(itertools.chain(*rows[-3:])) for name, rows in auc.items()}
    row = {"variant": "tiny", "steps": args.steps, "clips": 16, "frames": 8, "seeds": args.seeds, "every": EVERY}
    row |= {"heldout_clips": 16 * args.heldout, "scatter": scattered, "update_ms": milliseconds}
    row["final_auc"] = {name: round(value, 4) for name, value in final.items()}
    row["steps_to"] = {
        f"{share:g} of REINFORCE's": {name: steps_to(rows, share * final["reinforce"]) for name, rows in auc.items()}
        for share in TARGETS
    }
    row["greedy_auc"] = {name: np.round(rows, 4).tolist() for name, rows in auc.items()}
    common.record("estimators", row)


if __name__ == "__main__":
    main()
