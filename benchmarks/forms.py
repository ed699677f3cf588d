"""The network's two forms on real sequences: the stacked model, and the folded network of trackers.

    python -m benchmarks.forms --root otb_mini --checkpoint starter
    python -m benchmarks.forms --root otb_mini --checkpoint starter --dtype bfloat16
    python -m benchmarks.forms --root otb_mini --variant t256 --frames 20        # random weights

Both get the same frames and first boxes, turn by turn. A row has the largest difference of their boxes, by sequence,
AUC with each, and the time of an update. Each form follows its own boxes, so a difference may grow from frame to frame.
With random weights there is no AUC.
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np
import tqdm

from benchmarks import common
from benchmarks.device.tracking import forced
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.sequence import Sequence
from relo_jax.eval import metrics
from relo_jax.model import RELO, init_variables
from relo_jax.tracking.tracker import Tracker

FORMS = {"stacked": False, "folded": True}


def trackers(checkpoint: str, variant: str, dtype: str) -> dict[str, Tracker]:
    """A tracker for each form: of a checkpoint, or of random weights of a variant if it is ""."""
    made = {}
    model = RELO.from_variant(variant, dtype=dtype)
    variables = None if checkpoint else jax.device_get(init_variables(model, jax.random.key(0)))
    for name, folded in FORMS.items():
        with forced(folded):
            made[name] = Tracker.from_pretrained(checkpoint, dtype=dtype) if checkpoint else Tracker(model, variables)
    return made


def track(found: dict[str, Tracker], sequence: Sequence, frames: int) -> tuple[dict, dict]:
    """Boxes `[F, 4]` and seconds of each update, by form."""
    first = np.asarray(sequence.boxes_xywh[0], float)
    boxes, seconds = ({name: [] for name in found} for _ in range(2))
    for number in range(frames):
        frame = sequence.read_frame(number)
        for name, tracker in found.items():
            start = time.perf_counter()
            if number == 0:
                tracker.init(frame, first.tolist())
                boxes[name].append(first)
                continue
            boxes[name].append(np.array(tracker.update(frame).box))
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(rows) for name, rows in boxes.items()}, seconds


def main() -> None:
    args = common.arguments(__doc__, root="otb_mini", checkpoint="", dtype=common.DTYPES, frames=0)
    found = trackers(args.checkpoint, args.variant, args.dtype)
    sequences = [*read_folder(Path(args.root))]
    curves, seconds = ({name: [] for name in FORMS} for _ in range(2))
    apart = {}
    for sequence in tqdm.tqdm(sequences, unit="sequence", file=sys.stderr):
        count = min(args.frames or len(sequence), len(sequence))
        boxes, taken = track(found, sequence, count)
        apart[sequence.name] = round(float(np.abs(boxes["folded"] - boxes["stacked"]).max()), 5)
        for name in FORMS:
            curves[name].append(metrics.measure(boxes[name], np.asarray(sequence.boxes_xywh)[:count]))
            seconds[name] += taken[name][2:]  # the first ones compile
    row = {"checkpoint": args.checkpoint or f"random {args.variant}", "dtype": args.dtype, "root": Path(args.root).name}
    row |= {"frames": args.frames or "all", "largest_px": max(apart.values()), "apart_px": apart}
    if args.checkpoint:
        row["auc"] = {name: round(metrics.mean(of_form).auc, 4) for name, of_form in curves.items()}
    row["update_ms"] = {name: common.spread(times) for name, times in seconds.items()}
    row["folded_over_stacked"] = round(row["update_ms"]["folded"]["median"] / row["update_ms"]["stacked"]["median"], 3)
    common.record("forms", row)


if __name__ == "__main__":
    main()
