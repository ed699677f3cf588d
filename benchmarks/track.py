"""Tracking: milliseconds a frame online, frames a second in chunks and of many videos in lockstep; and the same for a
straightforward port of the model (port.py) on the same frames, in turn with them.

    python -m benchmarks.track --variant tiny --repeats 50
    python -m benchmarks.track --variant t256 --dtype bfloat16 --batch 4 --chunk 8

*network* is the compiled step on a crop that lies on the device; what *online* takes beyond it is the crop, the copies
and the host. Rates of the network are held against that of a matrix product, measured in the same run.
"""

import argparse
import itertools
import statistics

import jax
import numpy as np

from benchmarks import common
from benchmarks.port import Port
from relo_jax.model import RELO, init_variables
from relo_jax.model.precision import cast_kernels
from relo_jax.profiling.flops import matmul_flops
from relo_jax.profiling.frame import matmul_rate
from relo_jax.tracking import programs, step, tracker

BOX = (130.0, 100.0, 60.0, 45.0)


def video(frames, height, width, seed=0):
    """Frames of noise; how long an update takes does not depend on what is in them."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def online(tracked, frames):
    """A function that updates a tracker, or a port, with the next frame."""
    tracked.init(frames[0], BOX)
    following = itertools.cycle(frames)
    return lambda: tracked.update(next(following))


def chunked(model, variables, frames, chunk):
    """A function that tracks through a chunk, and waits for it."""
    tracked = tracker.Tracker(model, variables)
    tracked.init(frames[0], BOX)
    some = [frames[k % len(frames)] for k in range(chunk)]
    return lambda: list(tracked.update_chunk(some)())


def lockstep(model, variables, frames, chunk, batch):
    """A function that sends a chunk of frames of B videos, and waits for their boxes: what `Lockstep` does."""
    view = programs.first_view(np.array(BOX), model.template_size, programs.cropper(frames[0]))
    views = [np.repeat(x, batch, 0) for x in view]
    held = [programs.begin(model, variables, *views, window_power=1.0)]
    slots = [[frames[(k + row) % len(frames)] for k in range(chunk)] for row in range(batch)]

    def run():
        held[0], answers = programs.track_chunk(model, variables, held[0], *programs.pad_to_bucket(slots, chunk), None)
        return jax.device_get(answers)

    return run


def network(model, variables):
    """A function that runs the compiled step on a crop that is on the device already; and its FLOPs."""
    clip = common.random_clips(model, 1, 1)
    template = clip["template_images"][:, 0], clip["template_boxes_xywh"][:, 0]
    state = step.init_state(model, variables, *template, window_power=1.0)
    crop = jax.device_put(clip["search_images"][:, 0])
    run = jax.jit(lambda variables, state, crop: step.step(model, variables, state, crop))
    return lambda: run(variables, state, crop), matmul_flops(run, variables, state, crop)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    numbers = {"repeats": 20, "batch": 4, "chunk": 8, "width": 640, "height": 480}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    model = RELO.from_variant(args.variant, dtype=args.dtype)
    variables = jax.device_put(init_variables(model, jax.random.key(0)))
    held = cast_kernels(model, variables)  # as the tracker holds them
    frames = list(video(16, args.height, args.width))
    run, flops = network(model, held)
    port = Port(model, variables)
    functions = {
        "online": online(tracker.Tracker(model, variables), frames),
        "port": online(port, frames),
        "network": run,
        "chunked": chunked(model, variables, frames, args.chunk),
        "lockstep": lockstep(model, held, frames, args.chunk, args.batch),
    }
    limit = matmul_rate(args.dtype)
    seconds = common.times(functions, args.repeats, warmup=2)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    frames_per_second = {"chunked": args.chunk / median["chunked"]}
    frames_per_second["lockstep"] = args.batch * args.chunk / median["lockstep"]
    frames_per_second |= {name: 1 / median[name] for name in ("online", "port")}
    row = {"variant": args.variant, "dtype": args.dtype, **{name: getattr(args, name) for name in numbers}}
    row |= {f"{name}_ms": common.spread(seconds[name]) for name in ("online", "port", "network")}
    row |= {f"{name}_frames_per_second": round(rate, 2) for name, rate in frames_per_second.items()}
    row |= {"online_over_port": round(median["port"] / median["online"], 3)}
    row |= {"gflops_a_frame": round(flops / 1e9, 3), "port_gflops_a_frame": round(port.flops() / 1e9, 3)}
    row |= {"matmul_gflops_per_second": round(limit / 1e9, 1)}
    rates = {"network": 1 / median["network"], **{n: frames_per_second[n] for n in ("online", "chunked", "lockstep")}}
    row |= {f"{name}_share_of_matmul": round(flops * rate / limit, 3) for name, rate in rates.items()}
    common.record("track", row)


if __name__ == "__main__":
    main()
