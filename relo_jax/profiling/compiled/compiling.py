"""Compiles a program for a target, and reads from it what a call costs there."""

import contextlib
import dataclasses
import functools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from relo_jax import interrupts
from relo_jax.errors import UserError
from relo_jax.profiling.compiled import collectives, cost, hlo, launches
from relo_jax.profiling.compiled.programs import Program
from relo_jax.profiling.compiled.targets import Chip, Target, tracing_for

_GIB = 2**30
LIMITS = ("arithmetic", "memory traffic", "collectives")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled program.

    Attributes:
      text: its optimised HLO.
      arguments, temporary, peak: bytes of memory on each device.
      launches: what the host starts on a GPU; None on a TPU.
      seconds: that compiling took.
    """

    text: str
    arguments: int
    temporary: int
    peak: int
    launches: launches.Launches | None
    seconds: float


def compile_for(target: Target, program: Program, effort: float = 0.0) -> Compiled:
    """Compiles a program for a target.

    Args:
      target: whose devices the program's arguments name.
      program: to compile.
      effort: the compiler's effort, from -1 (least) to 1, on TPUs; 0 is what a run has.

    Raises:
      UserError: it cannot be compiled; the message has the compiler's first line, such as how much memory it needs.
    """
    on_gpu = target.platform == "gpu"
    language = {"gpu": "cuda", "tpu": "tpu"}[target.platform]
    mesh = contextlib.nullcontext() if program.mesh is None else jax.set_mesh(program.mesh)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        _compiler_options(effort),
        tracing_for(target),
        mesh,
    ):
        options: dict[str, Any] = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True} if on_gpu else {}
        start = time.perf_counter()
        try:
            lowered = program.function.trace(*program.arguments).lower(lowering_platforms=(language,))
            # In another thread: Ctrl-C does not wait for the compiler.
            compiled = interrupts.wait_for(functools.partial(lowered.compile, options), lambda: False)
        except jax.errors.JaxRuntimeError as error:
            first = str(error).strip().splitlines()[0]
            remedy = ": more chips, config.model.remat=True or config.accumulate_steps save memory"
            remedy = remedy if first.startswith("RESOURCE_EXHAUSTED") else ""
            raise UserError(f"{target.name}: the compiler refuses the program: {first.rstrip('.')}{remedy}") from None
        seconds = time.perf_counter() - start
        text = compiled.as_text() or ""
        listed = launches.file(Path(folder))
        found = launches.parse(listed.read_text(), hlo.parse(text).loops()) if listed else None
    memory = compiled.memory_analysis()
    held, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    # Donated buffers count as arguments and as outputs.
    peak = held + memory.output_size_in_bytes - memory.alias_size_in_bytes + temporary
    return Compiled(text, held, temporary, peak, found, seconds)


def figures(compiled: Compiled, chip: Chip, devices: int) -> dict[str, Any]:
    """What one call costs on each device, as a JSON-able dict.

    Args:
      compiled: the program.
      chip: the rates to compute with.
      devices: of the program.
    """
    module = hlo.parse(compiled.text)
    found, exchanged = cost.kernels(module), collectives.collectives(module, devices)
    seconds = dict.fromkeys(LIMITS, 0.0)
    for kernel in found:
        moving, computing = kernel.seconds(chip)
        seconds["memory traffic" if moving > computing else "arithmetic"] += max(moving, computing)
    seconds["collectives"] = sum(one.times * one.sent for one in exchanged) / chip.interconnect
    return {
        "kernels": sum(kernel.times for kernel in found),
        "kernels_by_kind": cost.by_kind(found),
        "launches": dataclasses.asdict(compiled.launches) if compiled.launches else None,
        "gb": round(sum(kernel.times * kernel.bytes for kernel in found) / 1e9, 3),
        "tflop": round(sum(kernel.times * kernel.flops for kernel in found) / 1e12, 4),
        "roofline_ms": round(1e3 * sum(seconds.values()), 4),
        "limited_by_ms": {name: round(1e3 * value, 4) for name, value in seconds.items()},
        "collectives": collectives.by_kind(exchanged),
        "longest_chain": collectives.longest_chain(module),
        "memory_gib": {
            "arguments": round(compiled.arguments / _GIB, 3),
            "temporary": round(compiled.temporary / _GIB, 3),
            "peak": round(compiled.peak / _GIB, 3),
            "chip": round(chip.memory / _GIB, 1),
        },
        "fits": compiled.peak <= chip.memory,
        "compile_seconds": round(compiled.seconds, 1),
    }


def most_expensive(compiled: Compiled, chip: Chip, count: int) -> list[dict[str, Any]]:
    """The kernels with the longest roofline over all their runs, as JSON-able dicts."""
    found = sorted(cost.kernels(hlo.parse(compiled.text)), key=lambda kernel: -max(kernel.seconds(chip)))
    return [
        {
            "ms": round(1e3 * max(kernel.seconds(chip)), 4),
            "times": kernel.times,
            "mb": round(kernel.bytes / 1e6, 2),
            "gflop": round(kernel.flops / 1e9, 3),
            "kind": kernel.kind,
            "result": kernel.result,
            "from": kernel.op_name,
        }
        for kernel in found[:count]
    ]


@contextlib.contextmanager
def _compiler_options(effort: float) -> Iterator[None]:
    """The compiler's effort, and no cache on disk: what is compiled for other devices cannot be loaded here."""
    wanted = {
        "jax_enable_compilation_cache": False, "jax_disable_most_optimizations": False,
        "jax_exec_time_optimization_effort": effort, "jax_memory_fitting_effort": effort,
    }  # fmt: skip
    kept = {name: jax.config.values[name] for name in wanted}
    try:
        for name, value in wanted.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in kept.items():
            jax.config.update(name, value)
