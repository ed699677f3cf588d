"""How good are `score` and `found` on real video, before and after an adjustment of the calibration?

    python -m benchmarks.score --root otb_mini --checkpoint starter --against docs/starter/score/mini_drawn.json

One pass through the frames measures the checkpoint's options and those of the file, both on the same boxes. The row has
their figures, with 95 % intervals over the sequences, and those of every sequence.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import common
from relo_jax.checkpoints import load
from relo_jax.config.renamed import with_current_names
from relo_jax.data.datasets.folder import read_folder
from relo_jax.errors import UserError
from relo_jax.eval import calibrate, calibration, score_report
from relo_jax.eval.report import plots
from relo_jax.tracking.options import checked_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, type=Path, help="folder of sequences, as `relo eval` reads it")
    parser.add_argument("--checkpoint", default="starter")
    parser.add_argument("--against", required=True, type=Path, help='JSON with a section "tracker": options of before')
    parser.add_argument("--picture", type=Path, help="reliability diagram of both")
    args = parser.parse_args()
    loaded = load.load_tracker(args.checkpoint)
    sequences = list(read_folder(args.root, cache=0).sequences)
    after, frames = score_report.measure(loaded, sequences)
    given = with_current_names({"tracker": json.loads(args.against.read_text())["tracker"]}, args.against)
    old = checked_options({**loaded.config["tracker"], **given["tracker"]}, loaded.model)
    before = score_report.figures_of(frames, old, [sequence.name for sequence in sequences])
    print(calibrate.figures_table({"before": before["all"], "after": after["all"]}))
    if args.picture:
        scores = {f"score {label}": (calibration.apply(frames, of["tracker"])[0], frames.right)
                  for label, of in (("before", before), ("after", after))}  # fmt: skip
        plots.reliability_plot(args.picture, scores)
    sys.argv = [arg.replace(str(args.root), args.root.name) for arg in sys.argv]
    common.record("score", {"of": args.root.name, "checkpoint": args.checkpoint, "sequences": len(sequences),
                            "before": before, "after": after})  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"score: {error}")
