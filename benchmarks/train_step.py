"""Clips a second of one update of a stage, its FLOPs against the rate of a matrix product measured in the same run,
and its peak memory by the compiler's estimate.

    python -m benchmarks.train_step --variant tiny --clips 16 --frames 8               # the RL stage
    python -m benchmarks.train_step --variant tiny --clips 16 --frames 2 --stage warmup

The RL stage is run by the clip path (all frames through each layer together) and by the frame path (`lax.scan`). Both
compute the same numbers; the ratio is what the clip path is worth on this machine.
"""

import argparse
import statistics

import jax

from benchmarks import common
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables
from relo_jax.profiling.flops import matmul_flops
from relo_jax.profiling.frame import matmul_rate
from relo_jax.train import rl, warmup
from relo_jax.train.state import create_state, optimizer

GIB = 2**30


def updater(model, config, variables, batch):
    """A function that makes one update of a run of its own; its FLOPs, and its peak memory in GiB."""
    state = create_state(config, variables, jax.random.key(1))[0]
    # The update gives its state's buffers away; the variables are needed for the other path too.
    held = [jax.tree.map(lambda x: x.copy(), state)]
    step = {"warmup": warmup, "rl": rl}[config.stage].make_step(model, config, optimizer(config))
    memory = step.lower(held[0], batch).compile().memory_analysis()
    whole = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes

    def update():
        held[0], metrics = step(held[0], batch)
        return metrics

    return update, matmul_flops(step, held[0], batch), (whole + memory.temp_size_in_bytes) / GIB


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--stage", choices=["warmup", "rl"], default="rl")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    for name, default in (("clips", 16), ("frames", 8), ("repeats", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    config = relo_config.paper(args.stage)
    config.model.variant, config.batch_size = args.variant, args.clips
    model = RELO.from_variant(args.variant, dtype=args.dtype)
    variables = init_variables(model, jax.random.key(0))
    batch = jax.device_put(common.random_clips(model, args.clips, args.frames))
    updates, flops, peak = {}, {}, {}
    for path in ("clip", "frame") if args.stage == "rl" else ("clip",):
        config.rl.path = path
        made = updater(model, config.copy_and_resolve_references(), variables, batch)
        updates[path], flops[path], peak[path] = made
    limit = matmul_rate(args.dtype)
    seconds = common.times(updates, args.repeats)
    row = {"stage": args.stage, "variant": args.variant, "dtype": args.dtype, "clips": args.clips}
    row |= {"frames": args.frames, "repeats": args.repeats, "matmul_gflops_per_second": round(limit / 1e9, 1)}
    for path, spent in seconds.items():
        median = statistics.median(spent)
        row[f"{path}_path"] = {
            "clips_per_second": round(args.clips / median, 2),
            "ms": common.spread(spent),
            "gflops": round(flops[path] / 1e9, 2),
            "utilisation": round(flops[path] / median / limit, 3),
            "peak_gib": round(peak[path], 3),
        }
    if len(seconds) > 1:
        ratio = row["clip_path"]["clips_per_second"] / row["frame_path"]["clips_per_second"]
        row["clip_path_over_frame_path"] = round(ratio, 2)
    common.record("train_step", row)


if __name__ == "__main__":
    main()
