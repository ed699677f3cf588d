"""Clips a second of `procedural`, drawn by the host and by the device that trains.

    python -m benchmarks.clips --variant mini                     # both, on this machine's device
    python -m benchmarks.clips --variant mini --batch 64 --only device
    python -m benchmarks.clips --variant mini --target h100       # what an H100 would move and compute for a batch

The clips are those of the variant's warm-up. The host draws in one process with one thread; `cores` of the row is how
many the device's program may use. Processor time counts all threads. `--target` compiles for a card that need not be
there (it needs the compiler of `relo plan`): its bytes and FLOPs leave out gathers and integers, so that they say how
fast it cannot be, not how fast it is.
"""

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

import relo_jax
from benchmarks import common
from relo_jax.data.clips.drawn import DrawnClips, drawn_clips
from relo_jax.data.clips.pipeline import clip_source
from relo_jax.model import RELO
from relo_jax.profiling.compiled import compiling, programs, targets


def rate(draw: Callable[[int], int], repeats: int) -> dict[str, float]:
    """Clips a second and processor time of a clip: medians over calls of `draw`, which returns how many it drew."""
    wall, work = [], []
    for call in range(repeats):
        start = time.perf_counter(), time.process_time()
        clips = draw(call)
        wall.append(clips / (time.perf_counter() - start[0]))
        work.append(1e3 * (time.process_time() - start[1]) / clips)
    return {"clips_per_second": round(statistics.median(wall), 2), "processor_ms": round(statistics.median(work), 2)}


def on_device(drawn: DrawnClips, batch: int, repeats: int) -> dict:
    """The rate of the drawing program, and how long it compiles."""
    assets = jax.device_put(drawn.assets())
    start = time.perf_counter(), time.process_time()
    program = jax.jit(lambda first, assets: drawn.draw(first, batch, assets)).lower(np.int32(0), assets).compile()
    seconds = {"compile_seconds": time.perf_counter() - start[0], "compile_processor_s": time.process_time() - start[1]}
    jax.block_until_ready(program(np.int32(0), assets))

    def draw(call):
        jax.block_until_ready(program(np.int32((call + 1) * batch), assets))
        return batch

    return {"batch": batch, **rate(draw, repeats), **{name: round(value, 1) for name, value in seconds.items()}}


def on_target(drawn: DrawnClips, batch: int, name: str) -> dict:
    """What a batch costs on a card that need not be there."""
    target = targets.parse(name)
    where = SingleDeviceSharding(targets.devices(target)[0])
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
    assets = jax.tree.map(shape, drawn.assets())
    function = jax.jit(lambda first, assets: drawn.draw(first, batch, assets))
    program = programs.Program(function, (shape(np.int32(0)), assets), None, 1, 0)
    compiled = compiling.compile_for(target, program)
    figures = compiling.figures(compiled, target.limits, 1)
    costly = compiling.most_expensive(compiled, target.limits, 5)
    return {"target": name, "batch": batch, **figures, "most_expensive": costly}


def main() -> None:
    args = common.arguments(__doc__, batch=8, clips=64, only=["both", "host", "device"], target="")
    config = relo_jax.get_config(f"{args.variant}:warmup")
    model = RELO.from_config(config.model)
    drawn = drawn_clips(config, model.config)
    row = {"variant": args.variant, "frames": drawn.clip.frames}
    if args.target:
        common.record("clips", row | on_target(drawn, args.batch, args.target))
        return
    if args.only != "device":
        source = clip_source(config, model.config)
        source[0]  # makes textures and cut-outs

        def draw(call: int) -> int:
            for index in range(call * args.clips, (call + 1) * args.clips):
                source[index]
            return args.clips

        row["host"] = rate(draw, args.repeats)
    if args.only != "host":
        row["device"] = on_device(drawn, args.batch, args.repeats)
    common.record("clips", row)


if __name__ == "__main__":
    main()
