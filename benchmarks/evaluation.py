"""`relo eval`: sequences one after the other against several in lockstep, on the same frames.

    python -m benchmarks.evaluation --root otb_mini --batch 8 --repeats 3     # a folder of sequences
    python -m benchmarks.evaluation                                           # held-out procedural sequences

Times are those of a whole pass, with reading and decoding and without compilation and loading, in turn. The row also
has the largest difference between the boxes of both; and what went up with patches of frames instead of whole frames,
how often a row halted, and how far those boxes are apart.
"""

import statistics
import time

import numpy as np

from benchmarks import common
from relo_jax.checkpoints import load as checkpoint
from relo_jax.config.data_options import Options
from relo_jax.data.datasets.folder import read_folder
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.eval.lockstep import Lockstep, batch_for

SEQUENCES, FRAMES = 16, 60  # procedural


def drawn(sequence: Sequence) -> Sequence:
    """A procedural sequence with its frames in memory, because drawing them is not part of an evaluation."""
    frames = [sequence.read_frame(index) for index in range(len(sequence))]
    return type(sequence)(sequence.name, sequence.boxes_xywh, sequence.visible, frames.__getitem__)


def one_pass(engine: Lockstep, sequences: list[Sequence]) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds of one evaluation without compilation, and its boxes `[F, 4]` by sequence."""
    start, compiling = time.perf_counter(), engine.seconds_compiling
    boxes = {}
    for tracked in engine.run(sequences):
        if tracked.failure is not None:
            raise SystemExit(f"{tracked.sequence.name}: {tracked.failure}")
        boxes[tracked.sequence.name] = np.asarray(tracked.boxes_xywh)
    return time.perf_counter() - start - (engine.seconds_compiling - compiling), boxes


def main() -> None:
    args = common.arguments(__doc__, repeats=3, checkpoint="starter", root="", batch=8)
    loaded = checkpoint.load_tracker(args.checkpoint)
    if args.root:
        sequences = list(read_folder(args.root, cache=0).sequences)
    else:
        sequences = [drawn(s) for s in heldout(0, SEQUENCES, Options(num_frames=FRAMES))]
    rows = batch_for(sequences, args.batch)  # as `relo eval` does
    options = loaded.config["tracker"]
    engines = {batch: Lockstep(loaded.model, loaded.variables, options, batch) for batch in (1, rows)}
    seconds: dict[int, list[float]] = {batch: [] for batch in engines}
    boxes: dict[int, dict[str, np.ndarray]] = {}
    for repeat in range(args.repeats + 1):  # the first pass compiles
        for batch, engine in engines.items():
            spent, boxes[batch] = one_pass(engine, sequences)
            seconds[batch] += [spent] if repeat else []
    apart = max(np.abs(boxes[1][name] - other).max() for name, other in boxes[rows].items())
    patched = Lockstep(loaded.model, loaded.variables, options, rows, patches=True)
    _, again = one_pass(patched, sequences)
    frames = sum(map(len, sequences))
    whole_bytes = engines[rows].bytes_up / (args.repeats + 1)
    median = {batch: statistics.median(values) for batch, values in seconds.items()}
    row = {
        "variant": loaded.model.config.variant, "checkpoint": args.checkpoint, "sequences": len(sequences),
        "frames": frames, "of": "folder" if args.root else "procedural", "batch": rows, "repeats": args.repeats,
        "one_at_a_time": common.spread(seconds[1], unit=1), "in_lockstep": common.spread(seconds[rows], unit=1),
        "one_at_a_time_frames_per_second": round(frames / median[1], 1),
        "in_lockstep_frames_per_second": round(frames / median[rows], 1),
        "ratio": round(median[1] / median[rows], 2), "largest_difference_px": float(f"{apart:.2g}"),
        "bytes_up_a_frame": {"whole": round(whole_bytes / frames), "patches": round(patched.bytes_up / frames)},
        "halts": patched.halts,
        "patches_largest_difference_px": max(float(np.abs(boxes[rows][name] - again[name]).max()) for name in again),
    }  # fmt: skip
    common.record("evaluation", row)


if __name__ == "__main__":
    main()
