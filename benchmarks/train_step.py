"""One training update: clips a second, arithmetic as a share of a matrix product's rate, and peak memory.

    python -m benchmarks.train_step --variant tiny --clips 16 --frames 8               # the RL stage
    python -m benchmarks.train_step --variant tiny --clips 16 --frames 2 --stage warmup

The matrix product is measured in the same run; the memory is the compiler's estimate. The RL stage runs both by the
clip path (all frames through each layer together) and by the frame path (`lax.scan`). Both compute the same numbers;
their ratio is what the clip path gains on this machine.
"""

import statistics
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables, platform
from relo_jax.profiling.flops import matmul_flops
from relo_jax.profiling.frame import matmul_rate
from relo_jax.train import rl, warmup
from relo_jax.train.state import create_state, optimizer


def updater(model: RELO, config: ConfigDict, variables: dict, batch: dict) -> tuple[Callable[[], dict], float, float]:
    """A function that makes one update of its own run; the FLOPs of the update; its peak memory in GiB."""
    state = create_state(config, variables, jax.random.key(1))[0]
    # An update donates the buffers of its state, and the other path needs the variables too.
    state = jax.tree.map(lambda x: x.copy(), state)
    make = lambda: {"warmup": warmup, "rl": rl}[config.stage].make_step(model, config, optimizer(config))
    compiled = make().lower(state, batch).compile()
    # The CPU's attention is written as products, which can be counted. Another step: JAX keeps the trace of the first.
    with platform.compiling_for("cpu"):
        flops = matmul_flops(make(), state, batch)

    def update():
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    return update, flops, common.memory_gib(compiled)["peak_gib"]


def main() -> None:
    stages = ["rl", "warmup"]
    args = common.arguments(__doc__, stage=stages, dtype=common.DTYPES, clips=16, frames=8, repeats=10)
    config = relo_config.paper(args.stage)
    config.model.variant, config.batch_size = args.variant, args.clips
    model = RELO.from_variant(args.variant, dtype=args.dtype)
    variables = init_variables(model, jax.random.key(0))
    batch = jax.device_put(common.random_clips(model, args.clips, args.frames))
    updates, flops, peak = {}, {}, {}
    for path in ("clip", "frame") if args.stage == "rl" else ("clip",):
        config.rl.path = path
        own = config.copy_and_resolve_references()
        updates[path], flops[path], peak[path] = updater(model, own, variables, batch)
    limit = matmul_rate(args.dtype)
    row = {"stage": args.stage, "variant": args.variant, "dtype": args.dtype, "clips": args.clips}
    row |= {"frames": args.frames, "repeats": args.repeats, "matmul_gflops_per_second": round(limit / 1e9, 1)}
    for path, seconds in common.times(updates, args.repeats).items():
        median = statistics.median(seconds)
        row[f"{path}_path"] = {
            "clips_per_second": round(args.clips / median, 2),
            "ms": common.spread(seconds),
            "gflops": round(flops[path] / 1e9, 2),
            "utilisation": round(flops[path] / median / limit, 3),
            "peak_gib": peak[path],
        }
    if "frame_path" in row:
        ratio = row["clip_path"]["clips_per_second"] / row["frame_path"]["clips_per_second"]
        row["clip_path_over_frame_path"] = round(ratio, 2)
    common.record("train_step", row)


if __name__ == "__main__":
    main()
