"""Clips per second of one update of the RL stage: the clip path (all frames through each layer together) beside the
frame path (`lax.scan`). Both compute the same numbers; the ratio is what the clip path is worth on this machine.

    python -m benchmarks.train_step --variant tiny --clips 16 --frames 8
"""

import statistics

import jax

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables
from relo_jax.train import rl
from relo_jax.train.state import create_state


def updater(model, config, variables, batch):
    """A function that makes one update of a run of its own."""
    state, tx = create_state(config, variables, jax.random.key(1))
    # The update gives its state's buffers away; the variables are needed for the other path too.
    held = [jax.tree.map(lambda x: x.copy(), state)]
    step = rl.make_step(model, config, tx)

    def update():
        held[0], metrics = step(held[0], batch)
        return metrics

    return update


def main():
    args = common.arguments(__doc__, repeats=10, clips=16, frames=8)
    config = relo_config.paper("rl")
    config.model.variant = args.variant
    model = RELO.from_variant(args.variant)
    variables = init_variables(model, jax.random.key(0))
    batch = jax.device_put(common.random_clips(model, args.clips, args.frames))
    updates = {}
    for path in ("clip", "frame"):
        config.rl.path = path
        updates[path] = updater(model, config.copy_and_resolve_references(), variables, batch)
    seconds = common.times(updates, args.repeats)
    rate = {path: args.clips / statistics.median(s) for path, s in seconds.items()}
    row = {"variant": args.variant, "clips": args.clips, "frames": args.frames, "repeats": args.repeats}
    row |= {f"{path}_path_clips_per_second": round(r, 2) for path, r in rate.items()}
    row |= {f"{path}_path_ms": common.spread(s) for path, s in seconds.items()}
    common.record("train_step", {**row, "clip_path_over_frame_path": round(rate["clip"] / rate["frame"], 2)})


if __name__ == "__main__":
    main()
