"""`relo eval`: a benchmark by its own rules, or a folder of sequences."""

import math
from pathlib import Path

from relo_jax.commands.arguments import add_sequences, add_tracker, tracker_options
from relo_jax.errors import UserError


def add_arguments(parser):
    """The arguments of `relo eval`."""
    parser.add_argument("--dataset", default="folder", metavar="NAME", help="such as lasot; folder, procedural")
    parser.add_argument("--split", help="such as val, of got10k (default: test)")
    parser.add_argument("--out", type=Path, help="folder of results (default results/CHECKPOINT/DATASET)")
    parser.add_argument("--batch", type=int, default=8, help="sequences at a time (default 8)")
    rules = ["plain", "lasot", "lasot_ext", "uav123"]
    parser.add_argument("--rules", choices=rules, help="how frames without a target count (default: NAME's own rules)")
    add_sequences(parser, count=20, seed=0)
    add_tracker(parser)


def run(args):
    """Evaluates, prints the table and where everything is.

    Raises:
      UserError: see `evaluate` and `open_benchmark`; and at the end, when sequences failed.
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
        print(f"nothing is measured here: a server has the boxes of {benchmark.title}; for what it takes: {pack}")
    if evaluation.failed:
        first, reason = next(iter(evaluation.failed.items()))
        raise UserError(f"{len(evaluation.failed)} of {len(benchmark)} sequences failed, the first: {first}: {reason}")
