"""What the benchmarks share: repeated timing, a description of the machine, and one JSON row a measurement.

A row is appended to `benchmarks/results/<name>.jsonl`; figures elsewhere in the repository are taken from those files.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless")


def arguments(description, **extra):
    """The command line of a benchmark: `--variant`, `--repeats`, and more by name, of the types of their defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--repeats", type=int, default=extra.pop("repeats", 20))
    for name, default in extra.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def times(functions, repeats, warmup=3):
    """Wall-clock times of functions that are run in turn, so that a slow minute of the machine meets all of them.

    Args:
      functions: `{name: function without arguments}`; what a function returns is waited for on the device.
      repeats: timed calls of each.
      warmup: calls of each before those, compilation among them.

    Returns:
      `{name: [seconds, ...]}`.
    """
    seconds = {name: [] for name in functions}
    for call in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            if call >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(seconds, unit=1e3):
    """Median and quartiles, in milliseconds unless told."""
    low, _, high = np.percentile(seconds, [25, 50, 75]) * unit
    return {"median": round(statistics.median(seconds) * unit, 3), "quartiles": [round(low, 3), round(high, 3)]}


def machine():
    """Processor, cores, what else was running, and the accelerator."""
    device = jax.devices()[0]
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
    }


def record(name, row):
    """Prints a row and appends it to the results of `name`."""
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    row = {
        "benchmark": name,
        **row,
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions},
        "commit": _commit(),
        "command": f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


def random_clips(model, clips, frames, seed=0):
    """A batch of noise in the shape of training clips; the arithmetic does not depend on what is in it."""
    rng = np.random.default_rng(seed)
    s, t = model.search_size, model.template_size
    box = np.array([0.3, 0.35, 0.4, 0.3], np.float32)
    return {
        "template_images": rng.integers(0, 256, (clips, model.templates, t, t, 3), np.uint8),
        "template_boxes_xywh": np.broadcast_to(box, (clips, model.templates, 4)).copy(),
        "search_images": rng.integers(0, 256, (clips, frames, s, s, 3), np.uint8),
        "search_boxes_xywh": np.broadcast_to(box, (clips, frames, 4)).copy(),
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit():
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
