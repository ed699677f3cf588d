"""Tracking: online, the network alone in each form and with each flag, and many videos in lockstep."""

import contextlib
import dataclasses
import functools
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from benchmarks import common
from benchmarks.device.kernels import ATTENTION, Row, attempt, call_times, share
from relo_jax.data.sequence import Sequence as Video
from relo_jax.eval.lockstep import Lockstep
from relo_jax.geometry.crop import SEARCH_FACTOR
from relo_jax.model import RELO, init_variables, platform
from relo_jax.model.inference import for_tracking
from relo_jax.profiling.flops import matmul_flops
from relo_jax.tracking import patches, programs, step
from relo_jax.tracking.engine import Engine
from relo_jax.tracking.tracker import Tracker

BOX = (130.0, 100.0, 52.0, 52.0)
MOTION = 0.8  # pixels a frame, to the right
OPTIONS = {"window_power": 1.0}
# Kinds of command that XLA gathers in a CUDA graph. Loops and branches are not among its own choice.
_GRAPHS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION"
_LOOPS = {"xla_gpu_enable_command_buffer": f"{_GRAPHS},WHILE,CONDITIONAL"}
# Form of the network (True: folded) and flags. Only the stacked form has loops.
FLAGS: tuple[tuple[bool, dict[str, Any]], ...] = (
    (True, {}),
    (False, {}),
    (False, _LOOPS),
    (False, _LOOPS | {"xla_gpu_command_buffer_unroll_loops": True}),
    (True, {"xla_gpu_enable_triton_gemm": False}),
    (True, {"xla_gpu_enable_command_buffer": ""}),
    (True, {"xla_gpu_graph_min_graph_size": 1}),
    (True, {"xla_gpu_exhaustive_tiling_search": True}),
    (False, {"xla_gpu_enable_while_loop_unrolling": "WHILE_LOOP_UNROLLING_FULL_UNROLL"}),
)


@contextlib.contextmanager
def forced(folded: bool | None = None, attention: Sequence[str] | None = None) -> Iterator[None]:
    """Replaces the platform's choices; None leaves one as it is.

    Args:
      folded: whether tracking runs `inference.Network`.
      attention: implementation for one frame, and for many.
    """
    name = jax.default_backend()
    kept = platform.choices()
    folded = kept.folded if folded is None else folded
    pair = kept.attention if attention is None else tuple(attention)
    platform.BY_PLATFORM[name] = dataclasses.replace(kept, folded=folded, attention=pair)  # type: ignore[arg-type]
    try:
        yield
    finally:
        platform.BY_PLATFORM[name] = kept


def online(
    variant: str, dtype: str, quick: bool, rate: float | None = None, folded: bool | None = None,
    attention: Sequence[str] | None = None,
) -> Iterator[Row]:  # fmt: skip
    """Consecutive `Tracker.update`s; then the network alone, and what an empty call takes."""
    calls = 5 if quick else 200
    with forced(folded, attention):
        model, variables, about = _model(variant, dtype)
        start = time.perf_counter()
        tracker = Tracker(model, variables, OPTIONS)
        frames = common.noise_frames(16)
        tracker.init(frames[0], BOX)
        following = itertools.cycle(frames)
        tracker.update(next(following))
        compiling, seconds = time.perf_counter() - start, []
        for _ in range(calls):
            start = time.perf_counter()
            tracker.update(next(following))
            seconds.append(time.perf_counter() - start)
        median, late = np.percentile(seconds, [50, 90])
        per_second, flops = calls / sum(seconds), frame_flops(model)
        yield about | {
            "what": "Tracker.update",
            "frame": "640x480",
            "motion_px": MOTION,
            "calls": calls,
            "compile_seconds": round(compiling, 1),
            "median_ms": round(1e3 * median, 3),
            "p90_ms": round(1e3 * late, 3),
            "frames_per_second": round(per_second, 1),
            "gflops_a_frame": round(flops / 1e9, 3),
            "share_of_rate": share(flops * per_second, 1, rate),
        }
        yield about | {"what": "network", "videos": 1} | _network(model, variables, 1, calls, rate)
        x = jax.device_put(np.zeros(8, np.float32))
        add = jax.jit(lambda x: x + 1)
        yield {"what": "empty call"} | call_times(lambda: add(x), calls)


def forms(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """The network alone: stacked and folded, by implementation of attention, for one video and for many."""
    ways = ATTENTION if jax.default_backend() == "gpu" else ATTENTION[:1]
    for videos in (1, 2 if quick else 64):
        stacked = platform.choices().attention[videos > 1]
        for folded, way in [*itertools.product([True], ways), (False, stacked)]:
            with forced(folded, (way, way)):
                model, variables, about = _model(variant, dtype)
                about |= {"videos": videos, "attention": way}
                calls = 3 if quick else 100 if videos == 1 else 20
                yield attempt(about, functools.partial(_network, model, variables, videos, calls, rate))


def flags(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """The network alone for one video, with flags of XLA."""
    for folded, options in FLAGS if jax.default_backend() == "gpu" else FLAGS[:2]:
        with forced(folded):
            model, variables, about = _model(variant, dtype)
            measure = functools.partial(_network, model, variables, 1, 3 if quick else 100, rate, options)
            yield attempt(about | {"videos": 1, "flags": options}, measure)


def lockstep(
    variant: str, dtype: str, quick: bool, rate: float | None = None, folded: bool | None = None,
    attention: Sequence[str] | None = None,
) -> Iterator[Row]:  # fmt: skip
    """Many videos: filling, upload and device one by one, then all of it as `relo eval --batch` runs it."""
    videos, chunk = (2, 2) if quick else (64, 8)
    with forced(folded, attention):
        model, variables, about = _model(variant, dtype)
        about |= {"videos": videos, "chunk": chunk}
        frames, flops = common.noise_frames(16), frame_flops(model)
        rates = lambda count, seconds: {
            "frames_per_second": round(count / seconds, 1), "share_of_rate": share(flops * count, seconds, rate),
        }  # fmt: skip
        for sends in ("patches", "whole frames"):
            seconds, size = _lockstep_parts(model, variables, frames, videos, chunk, sends == "patches", quick)
            parts = {f"{name}_ms": round(1e3 * s, 3) for name, s in seconds.items()}
            about["kilobytes_a_frame"] = round(size / videos / chunk / 1e3, 1)
            yield about | {"what": "parts", "sends": sends} | parts | rates(videos * chunk, seconds["device"])
        lane = Lockstep(model, variables, OPTIONS, videos, chunk)
        length = 2 * chunk + 1 if quick else 16 * chunk + 1
        boxes, read = np.tile(np.array(BOX), (length, 1)), lambda index: frames[index % 16]
        group = [Video(str(k), boxes, np.ones(length, bool), read) for k in range(videos)]
        for _ in range(2):  # the first time compiles
            before, start = lane.bytes_up, time.perf_counter()
            tracked = sum(len(video.sequence) - 1 for video in lane.run(group) if video.failure is None)
            taken = time.perf_counter() - start
        about["kilobytes_a_frame"] = round((lane.bytes_up - before) / tracked / 1e3, 1)
        yield about | {"what": "Lockstep.run", "frames": tracked} | rates(tracked, taken)


def _lockstep_parts(
    model: RELO, variables: dict, frames: list[np.ndarray], videos: int, chunk: int, sends_patches: bool, quick: bool
) -> tuple[dict[str, float], int]:
    """Seconds of what a chunk of B videos takes, part by part, and the bytes that go up."""
    engine = Engine(model, variables, OPTIONS)
    view = programs.first_view(np.array(BOX), model.config.template_size, programs.cropper(frames[0]))
    engine.state = engine.begin(tuple(np.repeat(x, videos, 0) for x in view))
    steps = [[frames[(k + row) % 16] for row in range(videos)] for k in range(chunk)]
    recent = np.tile(np.array(BOX), (videos, patches.RECENT, 1))
    recent[..., 0] += MOTION * np.arange(1 - patches.RECENT, 1)
    # The host hears of a chunk when the next one is under way.
    ahead = np.repeat(chunk + np.arange(1, chunk + 1)[:, None], videos, 1)
    reached = patches.reach(recent, ahead) if sends_patches else None
    packer = patches.Packer(lambda pixels, place: None, uniform=jax.default_backend() == "tpu")
    with ThreadPoolExecutor(min(videos, os.cpu_count() or 1)) as pool:
        fill = functools.partial(packer.pack, steps, reached, True, pool)
        filled = fill()
        placed = jax.block_until_ready(engine.put(filled))

        def run() -> jax.Array:
            engine.state, answers = programs.track_chunk(model, engine.variables, engine.state, *placed, None)
            return answers

        parts = {"filling": fill, "upload": lambda: engine.put(filled), "device": run}
        seconds = common.times(parts, 2 if quick else 6, warmup=2)
    return {name: statistics.median(s) for name, s in seconds.items()}, sum(x.nbytes for x in filled)


def frame_flops(model: RELO) -> int:
    """FLOPs of the reference network for one frame of one video, whatever form runs."""
    config, like = model.config, jax.ShapeDtypeStruct
    s, t = config.search_size, config.template_size
    variables = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    template, box = like((1, t, t, 3), np.uint8), like((1, 4), np.float32)
    # The CPU's attention is written as products, which can be counted.
    with platform.compiling_for("cpu"):
        begin = lambda v, template, box: step.init_state(model, v, template, box, 1.0)
        state = jax.eval_shape(begin, variables, template, box)
        frame = lambda v, state, crop: step.step(model, v, state, crop)
        return matmul_flops(frame, variables, state, like((1, s, s, 3), np.uint8))


def _network(
    model: RELO, variables: dict, videos: int, calls: int, rate: float | None, options: dict | None = None
) -> Row:
    run, seconds = network(model, variables, videos, options)
    times = call_times(run, calls)
    flops = frame_flops(model) * videos
    return {"compile_seconds": seconds} | times | {"share_of_rate": share(flops, times["queued_ms"] / 1e3, rate)}


def network(
    model: RELO, variables: dict, videos: int, options: dict | None = None
) -> tuple[Callable[[], object], float]:
    """A function that runs the compiled step on crops that are already on the device; the seconds of compiling it.

    Args:
      model, variables: the network, which runs in the form that is `forced`.
      videos: B.
      options: flags of XLA.
    """
    arrays = for_tracking(model, variables)
    clip = common.random_clips(model, videos, 1)
    views = clip["template_images"][:, 0], clip["template_boxes_xywh"][:, 0]
    box, window = np.tile(np.float32(BOX), (videos, 1)), np.ones((videos, 3), np.int32)
    state = programs.begin(model, arrays, *views, box, window, window_power=1.0).state
    crops = jax.device_put(clip["search_images"][:, 0])
    start = time.perf_counter()
    # A new function each time: a trace that JAX has kept would have the attention of the last one.
    program = jax.jit(lambda arrays, state, crops: step.step(model, arrays, state, crops))
    compiled = program.lower(arrays, state, crops).compile(compiler_options=options or None)
    seconds = round(time.perf_counter() - start, 1)
    return lambda: compiled(arrays, state, crops), seconds


@functools.cache
def steady_variables(model: RELO) -> dict:
    """Random weights, but for the last layers of the heads: the target moves by `MOTION`, and keeps its size.

    With all weights random a box wanders and grows from frame to frame, and the patches around it with it.
    """
    grid, window = model.config.grid, step.hann_window(model.config.grid, OPTIONS["window_power"])
    row, column = divmod(int(window.argmax()), grid)  # the cell that constant logits lead to
    x, y = grid / 2 - column + MOTION * grid / (SEARCH_FACTOR * BOX[2]), grid / 2 - row
    size = -math.log(SEARCH_FACTOR - 1)  # the sigmoid's, of a square box
    variables = jax.device_get(init_variables(model, jax.random.key(0)))
    heads = variables["params"] | variables["params"]["regression"]
    for name, bias in {"policy": [1.0], "offset": [x, y], "size": [size, size]}.items():
        out = heads[name]["out"]
        out["kernel"], out["bias"] = np.zeros_like(out["kernel"]), np.float32(bias)
    return variables


def _model(variant: str, dtype: str) -> tuple[RELO, dict, Row]:
    """A model with random weights; what the rows say of it."""
    model = RELO.from_variant(variant, dtype=dtype)
    return model, steady_variables(model), {"variant": variant, "dtype": dtype, "folded": platform.choices().folded}
