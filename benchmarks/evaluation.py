"""`relo eval`: sequences one after the other against many in lockstep, on the same frames; and whether the boxes agree.

    python -m benchmarks.evaluation --root otb_mini --batch 8 --repeats 3     # a folder of sequences
    python -m benchmarks.evaluation                                           # held-out procedural ones

Wall time of a whole pass with reading and decoding, without compilation and loading; the two in turn.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from relo_jax.checkpoints import load as checkpoint
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.synthetic.compose import Options
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.eval.lockstep import Lockstep, batch_for

SEQUENCES, FRAMES = 16, 60  # procedural; with their frames drawn beforehand, since drawing is no part of an evaluation


def drawn(sequence):
    """A procedural sequence with its frames in memory."""
    frames = [sequence.read_frame(index) for index in range(len(sequence))]
    return type(sequence)(sequence.name, sequence.boxes_xywh, sequence.visible, frames.__getitem__)


def one_pass(engine, sequences):
    """(seconds without compilation, boxes by name) of one evaluation."""
    start, compiling = time.perf_counter(), engine.seconds_compiling
    boxes = {}
    for tracked in engine.run(sequences):
        if tracked.failure is not None:
            raise SystemExit(f"{tracked.sequence.name}: {tracked.failure}")
        boxes[tracked.sequence.name] = tracked.boxes_xywh
    return time.perf_counter() - start - (engine.seconds_compiling - compiling), boxes


def main():
    args = common.arguments(__doc__.split("\n")[0], repeats=3, checkpoint="starter", root="", batch=8)
    loaded = checkpoint.load_tracker(args.checkpoint)
    if args.root:
        sequences = list(read_folder(args.root, cache=0).sequences)
    else:
        sequences = [drawn(s) for s in heldout(0, SEQUENCES, Options(num_frames=FRAMES))]
    options = loaded.config["tracker"]
    rows = batch_for(sequences, args.batch)  # as `relo eval` does
    engines = {batch: Lockstep(loaded.model, loaded.variables, options, batch) for batch in (1, rows)}
    seconds, boxes = {batch: [] for batch in engines}, {}
    for repeat in range(args.repeats + 1):  # the first compiles
        for batch, engine in engines.items():
            took, boxes[batch] = one_pass(engine, sequences)
            seconds[batch] += [took] if repeat else []
    apart = max(np.abs(boxes[1][name] - other).max() for name, other in boxes[rows].items())
    frames = sum(map(len, sequences))
    median = {batch: statistics.median(values) for batch, values in seconds.items()}
    row = {
        "variant": loaded.model.variant, "checkpoint": args.checkpoint, "sequences": len(sequences), "frames": frames,
        "of": "folder" if args.root else "procedural", "batch": rows, "repeats": args.repeats,
        "one_at_a_time": common.spread(seconds[1], unit=1), "in_lockstep": common.spread(seconds[rows], unit=1),
        "one_at_a_time_frames_per_second": round(frames / median[1], 1),
        "in_lockstep_frames_per_second": round(frames / median[rows], 1),
        "ratio": round(median[1] / median[rows], 2), "largest_difference_px": float(f"{apart:.2g}"),
    }  # fmt: skip
    sys.argv = [arg.replace(args.root, Path(args.root).name) if args.root else arg for arg in sys.argv]
    common.record("evaluation", row)


if __name__ == "__main__":
    main()
