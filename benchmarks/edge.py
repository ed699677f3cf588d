"""Tracking on a processor without JAX: exported graphs beside relo_jax and beside the network in PyTorch.

    python -m benchmarks.edge                             # t256, mini and tiny; one and two threads; prints
    python -m benchmarks.edge --record                    # appends rows to benchmarks/results/edge.jsonl

Every way of computing is a process of its own, with one or two threads on as many cores. They take turns of a quarter
of a second, so that a slow minute of the machine affects all of them; all others wait meanwhile. A step is
`Tracker.update` of a frame of 640 x 480: crop, network, and the way of the box. `relo_jax` has two forms, see
`relo_jax.model.inference`. PyTorch runs `torch_port.Frame` eagerly inside the driver of the exported graphs; it has
neither a value head nor the evidence of a calibrated score, which mini and tiny compute elsewhere. Without PyTorch in
the environment its rows are left out.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.device.tracking import forced
from relo_jax.export import relo_track
from relo_jax.export.source import Source
from relo_jax.model import RELO
from relo_jax.tracking.tracker import Tracker
from tests.export.weights import random_source, write_unchecked

CHECKPOINTS = {"mini": "starter", "tiny": "starter-tiny"}  # others have random weights, which cost the same
WAYS = {
    "relo_jax, stacked": {"folded": False},
    "relo_jax, folded": {"folded": True},
    "PyTorch eager": {},
    "ONNX Runtime": {"backend": "onnxruntime"},
    "ONNX Runtime int8": {"backend": "onnxruntime", "precision": "int8"},
    "OpenVINO": {"backend": "openvino"},
}
PEER = "PyTorch eager"
BOX, TURN = (300.0, 200.0, 60.0, 80.0), 0.25  # pixels; seconds


def source_of(variant: str) -> Source:
    """The checkpoint of a variant, or random weights."""
    if variant in CHECKPOINTS:
        return Source.of(CHECKPOINTS[variant])
    return random_source(RELO.from_variant(variant), {})


class TorchNetwork(relo_track.Network):
    """`torch_port.Frame` in the place of the graphs."""

    def __init__(self, out: Path, threads: int):
        import torch

        from benchmarks.torch_port import Frame, random_inputs

        torch.set_num_threads(threads)
        self.config, config = relo_track.read_config(out), RELO.from_config(relo_track.read_config(out)["model"]).config
        self._torch, self._frame = torch, Frame(config).eval().prepared(torch.float32, torch.device("cpu"))
        self._templates = random_inputs(config, 1, torch.float32, torch.device("cpu"))[0]
        self._grid = config.grid

    def encode(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Any tokens."""
        return self._templates.numpy()[:, : self._templates.shape[1] // self.config["templates"]]

    def step(self, rows: Any) -> list[dict[str, np.ndarray]]:
        """One target."""
        (row,) = rows
        inputs = [self._torch.from_numpy(row[name]) for name in ("templates", "search", "tokens")]
        with self._torch.inference_mode():
            box, response, logits, tokens = self._frame(*inputs)
            policy = logits.softmax(-1).reshape(1, self._grid, self._grid)
        found = {"box": box, "response": response, "score": policy.amax((1, 2)), "policy": policy, "new_tokens": tokens}
        return [{**{name: value.numpy() for name, value in found.items()}, "new_reference": row.get("reference")}]


def opened(way: str, variant: str, out: Path, threads: int) -> Tracker | relo_track.Tracker:
    """A tracker that computes in one way."""
    how: dict[str, Any] = WAYS[way]
    if "folded" in how:
        source = source_of(variant)
        with forced(how["folded"]):
            return Tracker(source.loaded.model, source.loaded.variables, source.options)
    if way == PEER:
        return relo_track.Tracker(TorchNetwork(out, threads))
    return relo_track.Tracker(out, threads=threads, **how)


def work(way: str, variant: str, out: Path, threads: int) -> None:
    """The process of one way: answers "go" by the milliseconds of each step of a turn, and of its processor time."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    tracker, frames = opened(way, variant, out, threads), common.noise_frames(8)
    tracker.init(frames[0], BOX)
    for frame in frames:
        tracker.update(frame)
    print("ready", flush=True)
    for _ in sys.stdin:
        wall: list[float] = []
        processor, start = time.process_time(), time.perf_counter()
        while time.perf_counter() - start < TURN:
            before = time.perf_counter()
            tracker.update(frames[len(wall) % len(frames)])
            wall.append(1e3 * (time.perf_counter() - before))
        print(json.dumps({"wall": wall, "processor": 1e3 * (time.process_time() - processor) / len(wall)}), flush=True)


def measure(variant: str, args: argparse.Namespace) -> dict:
    """The row of a variant."""
    ways = [way for way in WAYS if way != PEER or importlib.util.find_spec("torch") is not None]
    with tempfile.TemporaryDirectory() as out:
        write_unchecked(source_of(variant), Path(out), precisions=("float32", "int8"))
        workers = {
            (way, threads): subprocess.Popen(
                [sys.executable, "-m", "benchmarks.edge", "--work", way, out, str(threads), "--variants", variant],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            )
            for threads in args.threads for way in ways
        }  # fmt: skip
        try:
            turns = _turns(workers, args.rounds)
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
    row: dict[str, Any] = {"variant": variant, "weights": CHECKPOINTS.get(variant, "random"), "rounds": args.rounds}
    for (way, threads), of_way in turns.items():
        row.setdefault(f"threads_{threads}", {})[way] = {
            "wall_ms": common.spread([ms for turn in of_way for ms in turn["wall"]], 1),
            "processor_ms": common.spread([turn["processor"] for turn in of_way], 1),
        }
    return row


def _turns(workers: dict[tuple[str, int], subprocess.Popen], rounds: int) -> dict[tuple[str, int], list[dict]]:
    """What the processes answer, one after the other."""
    for (way, threads), worker in workers.items():
        assert worker.stdout is not None
        if worker.stdout.readline() != "ready\n":
            raise SystemExit(f"{way} with {threads} threads does not start")
    turns: dict[tuple[str, int], list[dict]] = {key: [] for key in workers}
    for _ in range(rounds):
        for key, worker in workers.items():
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write("go\n")
            turns[key].append(json.loads(worker.stdout.readline()))
    return turns


def shown(row: dict, threads: int) -> str:
    """A row as text, the fastest way first."""
    ways = sorted(row[f"threads_{threads}"].items(), key=lambda item: item[1]["wall_ms"]["median"])
    lines = [
        f"{row['variant']}, {threads} thread{'s' if threads > 1 else ''}: median ms of a step, of its processor time"
    ]
    lines += [f"  {way:18} {ms['wall_ms']['median']:8.2f} {ms['processor_ms']['median']:8.2f}" for way, ms in ways]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["t256", "mini", "tiny"], metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each way (default 6)")
    parser.add_argument("--record", action="store_true", help="append the rows to benchmarks/results/edge.jsonl")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        way, out, threads = args.work
        work(way, args.variants[0], Path(out), int(threads))
        return
    for variant in args.variants:
        row = measure(variant, args)
        print("\n".join(shown(row, threads) for threads in args.threads), file=sys.stderr)
        if args.record:
            common.record("edge", row)


if __name__ == "__main__":
    main()
