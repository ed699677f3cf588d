"""Peak memory of one training update by the compiler's estimate, and the seconds that compiling took.

    python -m benchmarks.memory --variant l256 --clips 16 --frames 8
    python -m benchmarks.memory --variant l256 --accumulate 4       # the clips pass through the encoder in four parts

The program is lowered from shapes and compiled. Nothing is allocated or run, so a small machine can measure a large
model. The estimate holds for the backend that compiled it: other backends fuse and order the operations differently.
"""

import time

import jax
import numpy as np

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables
from relo_jax.train import rl, warmup
from relo_jax.train.state import create_state, optimizer


def main() -> None:
    args = common.arguments(__doc__, stage=["rl", "warmup"], clips=16, frames=8, accumulate=1)
    config = relo_config.paper(args.stage)
    config.model.variant, config.accumulate_steps, config.batch_size = args.variant, args.accumulate, args.clips
    config.rl.clip_length = config.warmup.search_frames = args.frames
    model = RELO.from_variant(args.variant)
    variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    state = jax.eval_shape(lambda v: create_state(config, v, jax.random.key(0))[0], variables)
    clips = common.random_clips(model, args.clips, args.frames)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), clips)
    step = {"warmup": warmup, "rl": rl}[args.stage].make_step(model, config, optimizer(config))
    start = time.perf_counter()
    lowered = step.lower(state, batch)
    traced = time.perf_counter()
    compiled = lowered.compile()
    parameters = lambda tree: int(sum(np.prod(x.shape) for x in jax.tree.leaves(tree)))
    row = {"variant": args.variant, "stage": args.stage, "clips": args.clips, "frames": args.frames}
    row |= {
        "accumulate": args.accumulate,
        "dtype": model.config.dtype,
        "remat": model.config.remat,
        **common.memory_gib(compiled),
    }
    row["seconds"] = {"trace": round(traced - start, 2), "compile": round(time.perf_counter() - traced, 2)}
    row |= {"trained_parameters": parameters(state.params), "frozen_parameters": parameters(state.frozen_params)}
    common.record("memory", row)


if __name__ == "__main__":
    main()
