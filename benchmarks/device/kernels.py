"""The card by itself, and its attention."""

import functools
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import common
from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.model import RELO
from relo_jax.model.layers import dot_product_attention
from relo_jax.model.platform import Implementation
from relo_jax.profiling.frame import matmul_rate

Row = dict[str, Any]
ATTENTION = ("plain", "xla", "cudnn")


def attempt(about: Row, measure: Callable[[], Row]) -> Row:
    """A row with what was measured, or with why nothing was: a way that a card lacks does not end the stage."""
    try:
        return about | measure()
    except Exception as error:  # whatever XLA, cuDNN or PyTorch raise
        return about | {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"}


def card(dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """Name, memory and driver; the true rate of matrix products; the bandwidth of memory in a large copy."""
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit")
    row = {"name": device.device_kind, "dtype": dtype, "jax_gib": memory and round(memory / 2**30, 1)}
    yield row | _driver() | {"matmul_tflops": round(matmul_rate(dtype) / 1e12, 3)}
    x = jnp.zeros((2**25 if quick else 2**31) // 4, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    seconds = call_times(lambda: copy(x), 3 if quick else 30)["queued_ms"] / 1e3
    yield {"copy_gib": round(x.nbytes / 2**30, 3), "copy_tb_per_second": round(2 * x.nbytes / seconds / 1e12, 5)}


def attention(variant: str, dtype: str, quick: bool, rate: float | None = None) -> Iterator[Row]:
    """The attention of all main blocks in one program, by implementation, for one frame and for many."""
    config = RELO.from_variant(variant, dtype=dtype).config
    for frames in (1, 4 if quick else 128):
        about = {"variant": variant, "dtype": dtype, "frames": frames, "layers": config.depth}
        for implementation in ATTENTION if jax.default_backend() == "gpu" else ATTENTION[:2]:
            measure = functools.partial(_attention, config, frames, implementation, 3 if quick else 50, rate)
            yield attempt(about | {"attention": implementation}, measure)


def _attention(config: ModelConfig, frames: int, implementation: Implementation, calls: int, rate: float | None) -> Row:
    queries = config.grid**2 + config.templates * (config.template_size // STRIDE) ** 2 + config.temporal_tokens
    shape = lambda tokens: (frames, tokens, config.heads, config.width // config.heads)
    query = jax.random.normal(jax.random.key(0), shape(queries), config.dtype)
    key, value = jax.random.normal(jax.random.key(1), (2, *shape(queries + config.temporal_tokens)), config.dtype)

    @jax.jit
    def layers(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        for _ in range(config.depth):  # a loop in the program would be launched by the host
            query = dot_product_attention(query, key, value, implementation)
        return query

    times = call_times(functools.partial(layers, query, key, value), calls)
    flops = 4 * key.size * queries * config.depth
    return times | {"share_of_rate": share(flops, times["queued_ms"] / 1e3, rate)}


def call_times(run: Callable[[], Any], calls: int) -> Row:
    """Times of a compiled function, ms a call.

    Returns:
      waiting_ms: median and quartiles, each call waited for; queued_ms: all calls sent before the wait for the last;
      dispatch_ms: what the host takes to send one of those.
    """
    waiting = common.times({"run": run}, calls)["run"]
    start = time.perf_counter()
    for _ in range(calls):
        last = run()
    sent = time.perf_counter()
    jax.block_until_ready(last)
    end = time.perf_counter()
    each = lambda seconds: round(1e3 * seconds / calls, 4)
    return {"waiting_ms": common.spread(waiting), "queued_ms": each(end - start), "dispatch_ms": each(sent - start)}


def share(flops: float, seconds: float, rate: float | None) -> float | None:
    """The arithmetic as a share of the card's rate; None where that is not known."""
    return rate and round(flops / seconds / rate, 4)


def _driver() -> Row:
    """What nvidia-smi says of the first card; nothing where there is none."""
    fields = ["name", "memory.total", "driver_version", "power.limit", "clocks.max.sm"]
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"nvidia_smi": dict(zip(fields, map(str.strip, said.splitlines()[0].split(",")), strict=False))}
