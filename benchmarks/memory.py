"""Peak memory of one update of the RL stage, as the compiler of this machine's backend estimates it.

    python -m benchmarks.memory --variant l256 --clips 16 --frames 8

The program is lowered from shapes alone and compiled, nothing is allocated or run: so the memory of a large model can
be read on a small machine. The estimate is that of the backend it was compiled for; another fuses and orders
differently. `--accumulate 4` sends the clips through the encoder in four parts.
"""

import jax
import numpy as np

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables
from relo_jax.train import rl
from relo_jax.train.state import create_state, optimizer

GIB = 2**30


def compiled_step(model, config, clips):
    """The update of the RL stage, compiled from shapes, and those of its state."""
    variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    state = jax.eval_shape(lambda v: create_state(config, v, jax.random.key(0))[0], variables)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), clips)
    return rl.make_step(model, config, optimizer(config)).lower(state, batch).compile(), state


def gib(size):
    return round(size / GIB, 3)


def main():
    args = common.arguments(__doc__, repeats=1, clips=16, frames=8, accumulate=1)
    config = relo_config.paper("rl")
    config.model.variant, config.accumulate_steps, config.batch_size = args.variant, args.accumulate, args.clips
    config.rl.clip_length = args.frames
    model = RELO.from_variant(args.variant)
    compiled, state = compiled_step(model, config, common.random_clips(model, args.clips, args.frames))
    memory = compiled.memory_analysis()
    # Donated buffers are counted as arguments and as outputs.
    whole = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    row = {"variant": args.variant, "clips": args.clips, "frames": args.frames, "accumulate": args.accumulate}
    row |= {"dtype": model.dtype, "remat": model.remat}
    row |= {
        "peak_gib": gib(whole + memory.temp_size_in_bytes),
        "arguments_gib": gib(memory.argument_size_in_bytes),
        "temporary_gib": gib(memory.temp_size_in_bytes),
        "trained_parameters": int(sum(np.prod(x.shape) for x in jax.tree.leaves(state.params))),
        "frozen_parameters": int(sum(np.prod(x.shape) for x in jax.tree.leaves(state.frozen_params))),
    }
    common.record("memory", row)


if __name__ == "__main__":
    main()
