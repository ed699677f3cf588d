"""A checkpoint on real sequences beside what everybody has: OpenCV's KCF, MIL and CSRT, and a box that never moves.

    python -m benchmarks.real_video --root otb_mini
    python -m benchmarks.real_video --root otb_mini --checkpoint runs/demo --films films/

All of them get the same frames and the same first boxes in the same run, and are measured by the same rules. `--films`
writes a video of the checkpoint's best and of its worst sequence, with the ground truth drawn in white.

KCF and CSRT are in OpenCV's contributed modules, which do not go together with the package that relo_jax needs: give
them to this program alone, by `pip install --no-deps --target DIR opencv-contrib-python-headless==4.13.0.92` and
PYTHONPATH=DIR. Trackers that are not there are named.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import tqdm

from benchmarks import common
from relo_jax.data.datasets.folder import read_folder
from relo_jax.errors import UserError
from relo_jax.eval import metrics
from relo_jax.media import video
from relo_jax.media.overlay import draw
from relo_jax.tracking.tracker import Tracker

OPENCV = ("KCF", "MIL", "CSRT")
STILL = "never moves"


class OpenCV:
    """One of OpenCV's trackers by the verbs of ours; where it says that it lost the target its last box stays."""

    def __init__(self, name):
        self._make = getattr(cv2, f"Tracker{name}_create")

    def init(self, frame, box_xywh):
        self._tracker, self._box = self._make(), np.asarray(box_xywh, float)
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [round(v) for v in box_xywh])

    def update(self, frame):
        found, box = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if found and min(box[2:]) > 0:
            self._box = np.asarray(box, float)
        return self._box


class Ours:
    """A checkpoint; keeps its results, for the films."""

    def __init__(self, checkpoint):
        self._tracker = Tracker.from_pretrained(checkpoint)

    def init(self, frame, box_xywh):
        self._tracker.init(frame, box_xywh)
        self.results = []

    def update(self, frame):
        self.results.append(self._tracker.update(frame))
        return np.array(self.results[-1].box)


def track(tracker, frames, first_box_xywh):
    """Boxes `[F, 4]`, and the median seconds of an update."""
    tracker.init(frames[0], first_box_xywh)
    boxes, seconds = [np.asarray(first_box_xywh, float)], []
    for frame in frames[1:]:
        start = time.perf_counter()
        boxes.append(tracker.update(frame))
        seconds.append(time.perf_counter() - start)
    return np.array(boxes), statistics.median(seconds)


def film(path, sequence, frames, results):
    """A video of a tracked sequence from its second frame on, with the truth."""
    with video.write_video(path) as write:
        for frame, result, truth in zip(frames[1:], results, sequence.boxes_xywh[1:], strict=True):
            write(draw(frame, result, truth))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--root", required=True, type=Path, help="folder of sequences, see relo_jax.data.datasets.folder"
    )
    parser.add_argument("--checkpoint", default="starter")
    parser.add_argument("--films", type=Path, help="folder for two videos")
    args = parser.parse_args()
    sequences = list(read_folder(args.root, cache=0).sequences)
    there = [name for name in OPENCV if hasattr(cv2, f"Tracker{name}_create")]
    trackers = {args.checkpoint: Ours(args.checkpoint), **{f"OpenCV {name}": OpenCV(name) for name in there}}
    curves, seconds, filmed = {name: {} for name in (*trackers, STILL)}, {name: [] for name in trackers}, {}
    for sequence in tqdm.tqdm(sequences, unit=" sequences", disable=None):
        frames = [sequence.read_frame(index) for index in range(len(sequence))]
        curves[STILL][sequence.name] = metrics.measure(metrics.never_moves(sequence), sequence.boxes_xywh)
        for name, tracker in trackers.items():
            boxes, median = track(tracker, frames, sequence.boxes_xywh[0])
            curves[name][sequence.name] = metrics.measure(boxes, sequence.boxes_xywh)
            seconds[name].append(median)
        filmed[sequence.name] = sequence, trackers[args.checkpoint].results
    means = {name: metrics.mean(of.values()).auc for name, of in curves.items()}
    print(table(curves, means, seconds))
    if args.films:
        args.films.mkdir(parents=True, exist_ok=True)
        by_auc = sorted(filmed, key=lambda name: curves[args.checkpoint][name].auc)
        for kind, name in (("worst", by_auc[0]), ("best", by_auc[-1])):
            sequence, results = filmed[name]
            film(
                args.films / f"{kind}-{name}.mp4",
                sequence,
                [sequence.read_frame(k) for k in range(len(sequence))],
                results,
            )
    sys.argv = [arg.replace(str(args.root), args.root.name) for arg in sys.argv]
    common.record("real_video", {
        "of": args.root.name, "sequences": len(sequences), "frames": sum(map(len, sequences)),
        "opencv": cv2.__version__, "not_there": [f"OpenCV {name}" for name in OPENCV if name not in there],
        "mean_auc": {name: round(auc, 4) for name, auc in means.items()},
        "frames_per_second": {name: round(1 / statistics.median(s), 1) for name, s in seconds.items()},
        "auc": {name: {key: round(c.auc, 4) for key, c in of.items()} for name, of in curves.items()},
    })  # fmt: skip


def table(curves, means, seconds):
    """AUC by sequence and tracker, the mean, and frames a second, as text."""
    width = max(map(len, next(iter(curves.values()))), default=0) + 2
    lines = [" " * width + "".join(f"{name:>14}" for name in curves)]
    for key in next(iter(curves.values())):
        lines.append(f"{key:<{width}}" + "".join(f"{of[key].auc:>14.3f}" for of in curves.values()))
    lines.append(f"{'mean':<{width}}" + "".join(f"{auc:>14.3f}" for auc in means.values()))
    rates = [1 / statistics.median(seconds[name]) if name in seconds else math.inf for name in curves]
    lines.append(f"{'frames/s':<{width}}" + "".join(f"{'-' if math.isinf(r) else format(r, '.0f'):>14}" for r in rates))
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"real_video: {error}")
