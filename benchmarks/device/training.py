"""Updates of both training stages on one device."""

import statistics
from collections.abc import Iterator

import jax

from benchmarks import common
from benchmarks.device.kernels import Row, share
from benchmarks.train_step import updater
from relo_jax import config as relo_config
from relo_jax.model import RELO, init_variables

_PATHS = ("clip", "frame")


def rl(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """The RL stage by both paths: many clips, where the share of the card's rate counts, then one."""
    for clips in (2, 1) if quick else (16, 1):
        yield from _updates("rl", variant, dtype, clips, 2 if quick else 8, _PATHS, quick, rate)


def rl_of_many(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """The RL stage by the clip path, of many clips."""
    yield from _updates("rl", variant, dtype, 1 if quick else 16, 2 if quick else 8, _PATHS[:1], quick, rate)


def warmup(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """The warm-up."""
    yield from _updates("warmup", variant, dtype, 1 if quick else 16, 2, _PATHS[:1], quick, rate)


def _updates(
    stage: str, variant: str, dtype: str, clips: int, frames: int, paths: tuple[str, ...], quick: bool,
    rate: float | None,
) -> Iterator[Row]:  # fmt: skip
    config = relo_config.paper(stage)
    config.model.variant, config.batch_size = variant, clips
    model = RELO.from_variant(variant, dtype=dtype)
    variables = init_variables(model, jax.random.key(0))
    batch = jax.device_put(common.random_clips(model, clips, frames))
    medians: dict[str, float] = {}
    for path in paths:
        config.rl.path = path
        update, flops, peak = updater(model, config.copy_and_resolve_references(), variables, batch)
        seconds = common.times({path: update}, 2 if quick else 15, warmup=1 if quick else 3)[path]
        medians[path] = median = statistics.median(seconds)
        row = {"training": stage, "variant": variant, "dtype": dtype, "clips": clips, "frames": frames, "path": path}
        row |= {"ms": common.spread(seconds), "clips_per_second": round(clips / median, 2)}
        row |= {"gflops": round(flops / 1e9, 2), "share_of_rate": share(flops, median, rate), "peak_gib": peak}
        if path == "frame":
            row["clip_path_over_frame_path"] = round(median / medians["clip"], 2)
        yield row
