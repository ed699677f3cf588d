"""A checkpoint on real sequences, beside OpenCV's KCF, MIL and CSRT and a box that never moves.

    python -m benchmarks.real_video --root otb_mini
    python -m benchmarks.real_video --root otb_mini --checkpoint runs/demo --films films/

All trackers get the same frames and first boxes in the same run, and the same metrics. OpenCV's trackers return whole
numbers, so the checkpoint's boxes are measured twice: with their fractions, and truncated (`whole_numbers`). `--films`
writes videos of the checkpoint's best and worst sequence, with the ground truth drawn in white.

KCF and CSRT are in OpenCV's contributed modules, which cannot be installed beside the OpenCV package that relo_jax
needs. Install them for this program alone, by `pip install --no-deps --target DIR
opencv-contrib-python-headless==4.13.0.92`, and run it with PYTHONPATH=DIR. The row names trackers that are missing.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import tqdm

from benchmarks import common
from relo_jax import tables
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.media import video
from relo_jax.media.overlay import draw
from relo_jax.tracking.tracker import Result, Tracker

OPENCV = ("KCF", "MIL", "CSRT")
STILL = "never moves"
WHOLE_NUMBERS = "whole_numbers"  # column of the checkpoint's truncated boxes


class OpenCV:
    """One of OpenCV's trackers, with the methods of ours. It keeps its last box when it reports a loss."""

    def __init__(self, name: str):
        self._make = getattr(cv2, f"Tracker{name}_create")

    def init(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        self._tracker, self._box = self._make(), np.asarray(box_xywh, float)
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [round(v) for v in box_xywh])

    def update(self, frame: np.ndarray) -> np.ndarray:
        is_found, box = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if is_found and min(box[2:]) > 0:
            self._box = np.asarray(box, float)
        return self._box


class Ours:
    """A checkpoint. It keeps its results for the films."""

    def __init__(self, checkpoint: str):
        self._tracker = Tracker.from_pretrained(checkpoint)
        self.results_by_sequence: dict[str, list[Result]] = {}

    def init(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        self._tracker.init(frame, box_xywh.tolist())
        self.results: list[Result] = []

    def update(self, frame: np.ndarray) -> np.ndarray:
        self.results.append(self._tracker.update(frame))
        return np.array(self.results[-1].box)


def track(tracker: OpenCV | Ours, frames: list[np.ndarray], first_box_xywh: np.ndarray) -> tuple[np.ndarray, float]:
    """Boxes `[F, 4]`, and the median seconds of an update."""
    tracker.init(frames[0], first_box_xywh)
    boxes, seconds = [np.asarray(first_box_xywh, float)], []
    for frame in frames[1:]:
        start = time.perf_counter()
        boxes.append(tracker.update(frame))
        seconds.append(time.perf_counter() - start)
    return np.array(boxes), statistics.median(seconds)


def film(path: Path, sequence: Sequence, results: list[Result]) -> None:
    """Writes a video of a tracked sequence from its second frame on, with the ground truth."""
    frames = [sequence.read_frame(index) for index in range(len(sequence))]
    with video.write_video(path) as write:
        for frame, result, truth in zip(frames[1:], results, sequence.boxes_xywh[1:], strict=True):
            write(draw(frame, result, truth))


def measure(trackers: dict[str, OpenCV | Ours], sequences: list[Sequence]) -> tuple[dict, dict]:
    """Curves by tracker and sequence, and the median seconds of an update by tracker, a number a sequence.

    The curves have a checkpoint twice: truncated boxes are in the column `WHOLE_NUMBERS`.
    """
    columns = [c for name, t in trackers.items() for c in ([name, WHOLE_NUMBERS] if isinstance(t, Ours) else [name])]
    curves: dict[str, dict[str, metrics.Curves]] = {name: {} for name in (*columns, STILL)}
    seconds: dict[str, list[float]] = {name: [] for name in trackers}
    for sequence in tqdm.tqdm(sequences, unit=" sequences", disable=None):
        frames = [sequence.read_frame(index) for index in range(len(sequence))]
        curves[STILL][sequence.name] = metrics.measure(metrics.never_moves(sequence), sequence.boxes_xywh)
        for name, tracker in trackers.items():
            boxes, median = track(tracker, frames, sequence.boxes_xywh[0])
            curves[name][sequence.name] = metrics.measure(boxes, sequence.boxes_xywh)
            seconds[name].append(median)
            if isinstance(tracker, Ours):
                whole = metrics.whole_numbers(boxes)
                curves[WHOLE_NUMBERS][sequence.name] = metrics.measure(whole, sequence.boxes_xywh)
                tracker.results_by_sequence[sequence.name] = tracker.results
    return curves, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, type=Path, help="folder of sequences, as `relo eval` reads it")
    parser.add_argument("--checkpoint", default="starter")
    parser.add_argument("--films", type=Path, help="folder for two videos")
    args = parser.parse_args()
    sequences = list(read_folder(args.root, cache=0).sequences)
    available = [name for name in OPENCV if hasattr(cv2, f"Tracker{name}_create")]
    ours = Ours(args.checkpoint)
    trackers: dict[str, OpenCV | Ours] = {args.checkpoint: ours}
    trackers |= {f"OpenCV {name}": OpenCV(name) for name in available}
    curves, seconds = measure(trackers, sequences)
    means = {name: metrics.mean(of.values()).auc for name, of in curves.items()}
    print(table(curves, means, seconds))
    if args.films:
        args.films.mkdir(parents=True, exist_ok=True)
        by_auc = sorted(sequences, key=lambda sequence: curves[args.checkpoint][sequence.name].auc)
        for kind, sequence in (("worst", by_auc[0]), ("best", by_auc[-1])):
            film(args.films / f"{kind}-{sequence.name}.mp4", sequence, ours.results_by_sequence[sequence.name])
    common.record("real_video", {
        "of": args.root.name, "sequences": len(sequences), "frames": sum(map(len, sequences)),
        "opencv": cv2.__version__, "not_there": [f"OpenCV {name}" for name in OPENCV if name not in available],
        "mean_auc": {name: round(auc, 6) for name, auc in means.items()},
        "frames_per_second": {name: round(1 / statistics.median(s), 1) for name, s in seconds.items()},
        "auc": {name: {key: round(c.auc, 6) for key, c in of.items()} for name, of in curves.items()},
    })  # fmt: skip


def table(curves: dict[str, dict], means: dict[str, float], seconds: dict[str, list[float]]) -> str:
    """AUC by sequence and tracker, the mean, and frames a second, as text."""
    rows = [["", *curves]]
    rows += [[key, *(f"{of[key].auc:.3f}" for of in curves.values())] for key in next(iter(curves.values()))]
    rows.append(["mean", *(f"{auc:.3f}" for auc in means.values())])
    rate = lambda name: f"{1 / statistics.median(seconds[name]):.0f}" if name in seconds else "-"
    rows.append(["frames/s", *map(rate, curves)])
    return tables.terminal(rows, "l" + "r" * len(curves))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"real_video: {error}")
