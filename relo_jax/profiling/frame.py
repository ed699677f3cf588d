"""`relo profile --variant b256`: the cost of a frame on this machine, and its share of the rate of matrix products.

    relo profile --variant t256 --dtype bfloat16 --trace traces/t256     # then: tensorboard --logdir traces/t256

The weights are random: the arithmetic does not depend on them.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relo_jax.model import RELO, count_parameters, init_variables
from relo_jax.profiling import counts
from relo_jax.tracking import programs
from relo_jax.tracking.tracker import Tracker


def matmul_rate(dtype: str) -> float:
    """FLOPs per second of large matrix products on this machine: the limit.

    An accelerator makes a chain of them in one program. A single product is over so soon that its dispatch counts: an
    H200 seems to reach 500 TFLOP/s by one, and reaches 790 in a chain.
    """
    size, products = (2048, 1) if jax.default_backend() == "cpu" else (8192, 20)
    a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    a = a / size**0.5 if products > 1 else a  # powers of it stay finite

    @jax.jit
    def chain(a: jax.Array) -> jax.Array:
        x = a
        for _ in range(products):
            x = jnp.dot(x, a, preferred_element_type=jnp.float32).astype(a.dtype)
        return x

    return products * 2 * size**3 / timed(lambda: chain(a), 5)


def timed(run: Callable[[], object], repeats: int, warmup: int = 2) -> float:
    """Median seconds of `run()`, until its result is ready."""
    seconds = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warmup:])


def frame_flops(tracker: Tracker) -> dict[str, Any]:
    """FLOPs of one frame whose crop is cut: as `matmul_flops` and as XLA's cost analysis count them."""
    lowered = programs.track_crop.lower(
        tracker.model, *counts.frame_arguments(tracker.model, tracker._engine.variables)
    )
    analysis = lowered.compile().cost_analysis() or {}
    return {"matmul": counts.frame_flops(tracker.model), "xla_cost_analysis": analysis.get("flops")}


def online(model: RELO, variables: dict, height: int, width: int) -> tuple[Tracker, Callable[[], object], float]:
    """A tracker that has begun a video of noise.

    Returns:
      the tracker, a function that tracks the next frame, and the seconds that compiling took.
    """
    start = time.perf_counter()
    tracker = Tracker(model, variables, {"window_power": 1.0})
    images = np.random.default_rng(0).integers(0, 256, (8, height, width, 3), np.uint8)
    tracker.init(images[0], counts.BOX)
    compiling = time.perf_counter() - start
    following = itertools.cycle(images)
    return tracker, lambda: tracker.update(next(following)), compiling


def device() -> str:
    """The first device: `gpu: NVIDIA H100`."""
    return f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"


def measure(
    variant: str,
    dtype: str = "float32",
    frames: int = 30,
    height: int = 480,
    width: int = 640,
    trace: Path | None = None,
) -> dict:
    """The figures of a variant on this machine.

    Args:
      variant: name in `VARIANTS`.
      dtype: "float32" or "bfloat16", of the computation.
      frames: number of frames to measure with.
      height, width: of the frames.
      trace: folder for a trace of at most ten frames; None writes none.

    Returns:
      a JSON-able dict.

    Raises:
      UserError: no such variant.
    """
    model = RELO.from_variant(variant, dtype=dtype)
    variables = init_variables(model, jax.random.key(0))
    tracker, update, compiling = online(model, variables, height, width)
    seconds = timed(update, frames)
    if trace is not None:
        with jax.profiler.trace(str(trace)):
            for _ in range(min(frames, 10)):
                update()
    flops, limit, parts = frame_flops(tracker), matmul_rate(dtype), count_parameters(variables)
    return {
        "variant": variant,
        "dtype": dtype,
        "device": device(),
        "frame": f"{width}x{height}",
        "parameters": {"all": sum(parts.values()), **parts},
        "flops_a_frame": flops,
        "compile_seconds": round(compiling, 2),
        "ms_a_frame": round(1e3 * seconds, 3),
        "frames_per_second": round(1 / seconds, 2),
        "matmul_flops_per_second": limit,
        "share_of_matmul": round(flops["matmul"] / seconds / limit, 4),
    }


def table(row: dict) -> str:
    """The figures of `measure` as text."""
    counts = {name.removesuffix("_head"): count / 1e6 for name, count in row["parameters"].items()}
    whole = counts.pop("all")
    parts = ", ".join(f"{name} {count:.2f}" for name, count in counts.items())
    flops, xla = row["flops_a_frame"]["matmul"], row["flops_a_frame"]["xla_cost_analysis"]
    by_xla = f" (XLA's cost analysis, with all other operations: {xla / 1e9:.2f})" if xla else ""
    return "\n".join([
        f"{row['variant']}, {row['dtype']}, on {row['device']}, frames of {row['frame']}",
        f"parameters  {whole:.2f} M ({parts})",
        f"arithmetic  {flops / 1e9:.2f} GFLOP a frame{by_xla}",
        f"compiling   {row['compile_seconds']:.1f} s",
        f"speed       {row['ms_a_frame']:.2f} ms a frame, {row['frames_per_second']:.1f} frames/s, crop and copies too",
        f"limit       {row['matmul_flops_per_second'] / 1e9:.0f} GFLOP/s in a large matrix product; "
        f"tracking reaches {row['share_of_matmul']:.0%} of it",
    ])  # fmt: skip
