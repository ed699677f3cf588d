"""Tracking: milliseconds a frame online; frames a second in chunks, and of many videos in lockstep.

    python -m benchmarks.track --variant tiny --repeats 50
    python -m benchmarks.track --variant t256 --dtype bfloat16 --batch 4 --chunk 8

A straightforward port of the model (port.py) tracks the same frames in turn with them. *network* is the compiled step
on a crop that is already on the device; the rest of *online* is the crop, the copies and the host. The rates are also
given as a share of a matrix product's, measured in the same run.

*Lockstep* is measured with whole frames and with patches, and the bytes that go up a frame are counted. *Dispatch* is
the time of a call with the arguments of a frame that computes next to nothing: through `jax.jit`, which the tracker
uses, and as compiled ahead of time; with the arguments as they are, and as a flat list.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import common
from benchmarks.port import Port
from relo_jax.model import RELO, init_variables
from relo_jax.model.inference import for_tracking
from relo_jax.profiling.flops import matmul_flops
from relo_jax.profiling.frame import matmul_rate
from relo_jax.tracking import programs, step
from relo_jax.tracking.engine import Engine
from relo_jax.tracking.patches import RECENT, reach
from relo_jax.tracking.tracker import Tracker

BOX = (130.0, 100.0, 60.0, 45.0)
MOTION = 2.0  # pixels a frame
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
    model: RELO, variables: dict, frames: list[np.ndarray], chunk: int, batch: int, patches: bool = False
) -> tuple[Callable[[], np.ndarray], Engine]:
    """A function that sends a chunk of frames of B videos and waits for their boxes, as `Lockstep` does; its engine.

    With `patches`, the targets are where they were, and move `MOTION` pixels a frame: most halt, since the boxes of
    random weights lie anywhere, but the device computes the same for them.
    """
    engine = Engine(model, variables, OPTIONS, patches)
    view = programs.first_view(np.array(BOX), model.config.template_size, programs.cropper(frames[0]))
    engine.state = engine.begin(tuple(np.repeat(x, batch, 0) for x in view))
    steps = [[frames[(k + row) % len(frames)] for row in range(batch)] for k in range(chunk)]
    recent = np.tile(BOX, (batch, RECENT, 1))
    recent[..., 0] += MOTION * np.arange(1 - RECENT, 1)
    ahead = np.repeat(chunk + np.arange(1, chunk + 1)[:, None], batch, axis=1)  # a chunk is under way
    reached = reach(recent, ahead) if patches else None
    return lambda: jax.device_get(engine.track_chunk(steps, reached, True)), engine


def dispatch(model: RELO, variables: dict, calls: int = 300) -> dict[str, float]:
    """Microseconds of a call with the weights and state of a frame, by way of calling; and the number of arrays."""
    engine = Engine(model, variables, OPTIONS)
    black = lambda box, factor, size: (np.zeros((size, size, 3), np.uint8), 1.0)
    state = engine.put(engine.begin(programs.first_view(np.array(BOX), model.config.template_size, black)))
    crop = engine.put(np.zeros((1, 8), np.uint8))
    flat = jax.tree.leaves((engine.variables, state))

    def little(arrays: tuple, crop: jax.Array) -> tuple[tuple, jax.Array]:
        """Reads every array, so that all are arguments of the program."""
        return arrays, sum(x.ravel()[0].astype(np.float32) for x in jax.tree.leaves(arrays)) + crop[0, 0]

    jitted, flattened = (jax.jit(lambda arrays, crop: little(arrays, crop)[1]) for _ in range(2))
    ways: dict[str, tuple[Callable, Any]] = {
        "jit": (jitted, (engine.variables, state)),
        "compiled": (jitted.lower((engine.variables, state), crop).compile(), (engine.variables, state)),
        "flat_jit": (flattened, flat),
        "flat_compiled": (flattened.lower(flat, crop).compile(), flat),
    }
    # Only the call itself: the device may still be at it.
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(calls):
        for name, (function, arrays) in ways.items():
            start = time.perf_counter()
            answer = function(arrays, crop)
            took[name].append(time.perf_counter() - start)
            jax.block_until_ready(answer)
    row = {name: round(1e6 * statistics.median(seconds[10:]), 1) for name, seconds in took.items()}
    return row | {"arrays": len(flat)}


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
    run, flops = network(model, for_tracking(model, variables))  # as the tracker has them
    port = Port(model, variables)
    whole, with_whole = lockstep(model, variables, frames, args.chunk, args.batch)
    patched, with_patches = lockstep(model, variables, frames, args.chunk, args.batch, patches=True)
    functions = {
        "online": online(Tracker(model, variables), frames),
        "port": online(port, frames),
        "network": run,
        "chunked": chunked(model, variables, frames, args.chunk),
        "lockstep": whole,
        "lockstep_patches": patched,
    }
    limit = matmul_rate(args.dtype)
    seconds = common.times(functions, args.repeats, warmup=2)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    frames_per_second = {"chunked": args.chunk / median["chunked"]}
    for name in ("lockstep", "lockstep_patches"):
        frames_per_second[name] = args.batch * args.chunk / median[name]
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
    sent = {"frame": args.height * args.width * 3}
    for name, engine in (("whole", with_whole), ("patches", with_patches)):
        sent[name] = round(engine.bytes_up / (2 + args.repeats) / args.batch / args.chunk)
    row |= {"bytes_up_a_frame": sent, "dispatch_us": dispatch(model, variables)}
    common.record("track", row)


if __name__ == "__main__":
    main()
