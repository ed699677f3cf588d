"""A benchmark of five sequences, and the result files of trackers whose error is known."""

from pathlib import Path

import numpy as np

from relo_jax.data import miniature
from relo_jax.data.sequence import Sequence
from relo_jax.eval.benchmarks import Benchmark

FRAMES = 30
OFF = {"good": 1, "fair": 4, "bad": 60}  # tracker -> pixels to the right of the truth


def five() -> Benchmark:
    """Five sequences of a box that walks; in "c" the target is away for a while."""
    sequences = []
    for seed, name in enumerate("abcde"):
        boxes = miniature.walk(FRAMES, seed=seed)
        if name == "c":
            boxes[10:14] = np.nan
        image = np.zeros((miniature.HEIGHT, miniature.WIDTH, 3), np.uint8)
        sequences.append(Sequence(name, boxes, np.isfinite(boxes[:, 0]), lambda index, image=image: image))
    return Benchmark(None, None, "five", tuple(sequences))


def boxes_of(sequence: Sequence, off: float) -> np.ndarray:
    """The true boxes, `off` pixels to the right in all frames except the first."""
    boxes = np.nan_to_num(sequence.boxes_xywh, nan=20.0) + [off, 0, 0, 0]
    boxes[0] = sequence.boxes_xywh[0]
    return boxes


def write_results(folder: Path, benchmark: Benchmark, off: float = 0.0, skip: str = "") -> Path:
    """Writes boxes, times and scores of all sequences except some."""
    folder.mkdir()
    for sequence in benchmark:
        if sequence.name not in skip:
            np.savetxt(folder / f"{sequence.name}.txt", boxes_of(sequence, off), delimiter=",")
            np.savetxt(folder / f"{sequence.name}_time.txt", [9.0] + [0.02] * (FRAMES - 1))
            np.savetxt(folder / f"{sequence.name}_score.txt", np.linspace(1, 0.5, FRAMES))
    return folder
