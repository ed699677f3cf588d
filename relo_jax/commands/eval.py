"""`relo eval`: evaluates a tracker on a benchmark by its own rules, or on a folder of sequences."""

import argparse
import math
from pathlib import Path

from relo_jax.commands.arguments import add_batch, add_dataset, add_procedural, add_tracker, tracker_options
from relo_jax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo eval`."""
    add_dataset(parser, "folder")
    add_procedural(parser, count=20, seed=0)
    out = "folder of results (default results/CHECKPOINT/DATASET)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    add_batch(parser)
    rules = ["plain", "lasot", "lasot_ext", "uav123"]
    parser.add_argument("--rules", choices=rules, help="how frames without a target count (default: the dataset's)")
    add_tracker(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluates, and prints the table and the names of the files.

    Raises:
      UserError: see `evaluate` and `open_benchmark`; at the end, if sequences failed.
    """
    from relo_jax.checkpoints import load, model_card
    from relo_jax.config import published
    from relo_jax.eval import runner
    from relo_jax.eval.benchmarks import open_benchmark
    from relo_jax.eval.report import plots

    benchmark = open_benchmark(
        args.dataset, args.data_root, args.split, args.one_based, count=args.count, seed=args.seed
    )
    out = args.out or runner.results_folder(args.checkpoint, benchmark, args.seed)
    loaded, options = load.load_tracker(args.checkpoint, args.dtype), tracker_options(args)
    name, card = runner.checkpoint_name(args.checkpoint), model_card.of_checkpoint(args.checkpoint)
    chosen = published.describe(*runner.chosen_options(loaded, benchmark, options))
    print(f"{benchmark.title}: {len(benchmark)} sequences; {chosen}")
    evaluation = runner.evaluate(
        benchmark, loaded, out, batch=args.batch, options=options, rules=args.rules, name=name, card=card
    )
    print(evaluation.table())
    if not math.isnan(evaluation.frames_per_second):
        print(f"{evaluation.frames_per_second:.1f} frames/s, reading included")
    made = f"boxes, scores, {runner.SUMMARY_FILE}, {model_card.CARD_FILE}"
    print(f"written to {out}: {made}{'' if benchmark.server else ', ' + ', '.join(plots.FILES)}")
    if benchmark.server:
        pack = f"relo pack {args.dataset} {out} --out {name}.zip"
        print(f"nothing is measured here: only a server has the boxes of {benchmark.title}. For its upload: {pack}")
    if evaluation.failed:
        first, reason = next(iter(evaluation.failed.items()))
        raise UserError(f"{len(evaluation.failed)} of {len(benchmark)} sequences failed, the first: {first}: {reason}")
