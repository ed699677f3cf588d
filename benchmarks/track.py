"""Tracking: milliseconds a frame online; frames a second in chunks, and of many videos in lockstep.

    python -m benchmarks.track --variant tiny --repeats 50
    python -m benchmarks.track --variant t256 --dtype bfloat16 --batch 4 --chunk 8

A straightforward port of the model (port.py) tracks the same frames in turn with them. *network* is the compiled step
on a crop that is already on the device; the rest of *online* is the crop, the copies and the host. The rates are also
given as a share of a matrix product's, measured in the same run.
"""

import itertools
import statistics
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import common
from benchmarks.port import Port
from relo_jax.model import RELO, init_variables
from relo_jax.model.precision import cast_kernels
from relo_jax.profiling.flops import matmul_flops
from relo_jax.profiling.frame import matmul_rate
from relo_jax.tracking import programs, step
from relo_jax.tracking.engine import Engine
from relo_jax.tracking.tracker import Tracker

BOX = (130.0, 100.0, 60.0, 45.0)
OPTIONS = {"window_power": 1.0}


def online(tracker: Tracker | Port, frames: list[np.ndarray]) -> Callable[[], object]:
    """A function that updates a tracker with the next frame."""
    tracker.init(frames[0], BOX)
    following = itertools.cycle(frames)
    return lambda: tracker.update(next(following))


def chunked(model: RELO, variables: dict, frames: list[np.ndarray], chunk: int) -> Callable[[], list]:
    """A function that tracks through one chunk."""
    tracker = Tracker(model, variables)
    tracker.init(frames[0], BOX)
    following = [frames[k % len(frames)] for k in range(chunk)]
    return lambda: list(tracker.update_chunk(following)())


def lockstep(
    model: RELO, variables: dict, frames: list[np.ndarray], chunk: int, batch: int
) -> Callable[[], np.ndarray]:
    """A function that sends a chunk of frames of B videos and waits for their boxes, as `Lockstep` does."""
    engine = Engine(model, variables, OPTIONS)
    view = programs.first_view(np.array(BOX), model.config.template_size, programs.cropper(frames[0]))
    engine.state = engine.begin(tuple(np.repeat(x, batch, 0) for x in view))
    slots = [[frames[(k + row) % len(frames)] for k in range(chunk)] for row in range(batch)]
    return lambda: jax.device_get(engine.track_chunk(*programs.pad_to_bucket(slots, chunk)))


def network(model: RELO, variables: dict) -> tuple[Callable[[], object], float]:
    """A function that runs the compiled step on a crop that is already on the device; the step's FLOPs."""
    clip = common.random_clips(model, 1, 1)
    template = clip["template_images"][:, 0], clip["template_boxes_xywh"][:, 0]
    state = step.init_state(model, variables, *template, window_power=1.0)
    crop = jax.device_put(clip["search_images"][:, 0])
    run = jax.jit(lambda variables, state, crop: step.step(model, variables, state, crop))
    return lambda: run(variables, state, crop), matmul_flops(run, variables, state, crop)


def main() -> None:
    sizes = {"batch": 4, "chunk": 8, "width": 640, "height": 480}
    args = common.arguments(__doc__, dtype=common.DTYPES, **sizes)
    model = RELO.from_variant(args.variant, dtype=args.dtype)
    variables = jax.device_put(init_variables(model, jax.random.key(0)))
    # Noise: the pixels do not change the cost.
    frames = list(np.random.default_rng(0).integers(0, 256, (16, args.height, args.width, 3), np.uint8))
    run, flops = network(model, cast_kernels(model, variables))  # kernels as the tracker has them
    port = Port(model, variables)
    functions = {
        "online": online(Tracker(model, variables), frames),
        "port": online(port, frames),
        "network": run,
        "chunked": chunked(model, variables, frames, args.chunk),
        "lockstep": lockstep(model, variables, frames, args.chunk, args.batch),
    }
    limit = matmul_rate(args.dtype)
    seconds = common.times(functions, args.repeats, warmup=2)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    frames_per_second = {"chunked": args.chunk / median["chunked"]}
    frames_per_second["lockstep"] = args.batch * args.chunk / median["lockstep"]
    frames_per_second |= {name: 1 / median[name] for name in ("online", "port")}
    row = {"variant": args.variant, "dtype": args.dtype, "repeats": args.repeats}
    row |= {name: getattr(args, name) for name in sizes}
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
