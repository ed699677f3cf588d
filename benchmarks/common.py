"""Shared by the benchmarks: command line, repeated timing, a description of the machine, one JSON row a measurement.

A row is appended to `benchmarks/results/<name>.jsonl`. Figures elsewhere in the repository come from those files.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np

from relo_jax.model import RELO
from relo_jax.profiling.machine import processor

RESULTS = Path(__file__).parent / "results"
DTYPES = ["float32", "bfloat16"]
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch")
_GIB = 2**30
Name = TypeVar("Name", str, int)


def arguments(description: str, **flags: str | int | list[str]) -> argparse.Namespace:
    """Reads the command line of a benchmark.

    Args:
      description: the text of `--help`.
      flags: default of each flag, which also sets its type; a list names the choices, and its first is the default.
        All benchmarks have `--variant` and `--repeats`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"variant": "tiny", "repeats": 20, **flags}.items():
        choices = default if isinstance(default, list) else None
        first = default[0] if isinstance(default, list) else default
        about = f"default: {first!r}" + (f", of {', '.join(choices)}" if choices else "")
        parser.add_argument(f"--{name}", type=type(first), default=first, choices=choices, help=about)
    return parser.parse_args()


def times(functions: Mapping[Name, Callable], repeats: int, warmup: int = 3) -> dict[Name, list[float]]:
    """Times functions in turn, so that a slow minute of the machine affects all of them.

    Args:
      functions: by name; each takes no argument, and its result is awaited on the device.
      repeats: timed calls of each function.
      warmup: calls before those, which also compile.

    Returns:
      seconds of each call, by name.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in functions}
    for call in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            if call >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(seconds: Iterable[float], unit: float = 1e3) -> dict[str, float | list[float]]:
    """Median and quartiles, in milliseconds unless `unit` says otherwise."""
    low, middle, high = (round(float(value), 3) for value in np.percentile(list(seconds), [25, 50, 75]) * unit)
    return {"median": middle, "quartiles": [low, high]}


def machine() -> dict:
    """Processor, cores, load by other programs, and the accelerator."""
    device = jax.devices()[0]
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
    }


def about(command: str) -> dict:
    """What a row says of its origin: machine, versions, commit, command, date."""
    return {
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "commit": _commit(),
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def record(name: str, row: dict) -> None:
    """Prints a row and appends it to the results of the benchmark `name`."""
    row = {"benchmark": name, **row, **about(" ".join([f"python -m benchmarks.{name}", *map(_here, sys.argv[1:])]))}
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


def _here(argument: str) -> str:
    """An argument without the folders of this machine: of a path that is absolute or leads upwards, its last name."""
    flag, equals, value = argument.rpartition("=")
    return f"{flag}{equals}{Path(value).name if value.startswith(('/', '..')) else value}"


def noise_frames(count: int, height: int = 480, width: int = 640) -> list[np.ndarray]:
    """Frames of noise, uint8 `[H, W, 3]`. The pixels do not change the cost."""
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def random_clips(model: RELO, clips: int, frames: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch of noise in the shapes of training clips. The pixels do not change the cost."""
    rng = np.random.default_rng(seed)
    s, t = model.config.search_size, model.config.template_size
    box = np.array([0.3, 0.35, 0.4, 0.3], np.float32)
    return {
        "template_images": rng.integers(0, 256, (clips, model.config.templates, t, t, 3), np.uint8),
        "template_boxes_xywh": np.broadcast_to(box, (clips, model.config.templates, 4)).copy(),
        "search_images": rng.integers(0, 256, (clips, frames, s, s, 3), np.uint8),
        "search_boxes_xywh": np.broadcast_to(box, (clips, frames, 4)).copy(),
    }


def memory_gib(compiled: jax.stages.Compiled) -> dict[str, float]:
    """Memory of a compiled program by the compiler's estimate: arguments, temporaries, and the peak with both."""
    memory = compiled.memory_analysis()
    arguments, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    # Donated buffers count as arguments and as outputs.
    peak = arguments + memory.output_size_in_bytes - memory.alias_size_in_bytes + temporary
    sizes = {"peak_gib": peak, "arguments_gib": arguments, "temporary_gib": temporary}
    return {name: round(size / _GIB, 3) for name, size in sizes.items()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # as a build of the distribution's own
        return None


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
