"""`relo report`: result folders of any trackers in, one page, plots and tables out."""

import json
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import relo_jax
from relo_jax.commands.arguments import DATA_ROOT
from relo_jax.errors import UserError

_SUMMARY_FILE = "report.json"
# What only some reports have: where it stayed from an earlier one, it would be taken for this one's.
_SOMETIMES = ("attributes.csv", "attributes.tex", "reliability.*", "differences.tex", "differences.svg",
              "differences.pdf", "differences.png", "differences-*.svg", "differences-*.pdf",
              "differences-*.png")  # fmt: skip


def add_arguments(parser):
    """The arguments of `relo report`."""
    parser.add_argument("results", nargs="+", metavar="NAME=FOLDER", help="result files of a tracker; or FOLDER alone")
    parser.add_argument("--data-root", help=DATA_ROOT)
    parser.add_argument("--dataset", default="folder", metavar="NAME", help="such as lasot (default: folder)")
    parser.add_argument("--split", help="such as val, of got10k (default: test)")
    parser.add_argument("--out", type=Path, default="results/report", help="folder to write (default results/report)")
    parser.add_argument("--against", metavar="NAME", help="the tracker the others are compared with (default: first)")
    parser.add_argument("--worst", type=int, default=4, metavar="N", help="its worst sequences to show (default 4)")
    parser.add_argument("--resamples", type=int, default=10_000, metavar="N", help="of the bootstrap (default 10000)")
    parser.add_argument("--one-based", action="store_true", help="the annotations of the folder count pixels from 1")
    parser.add_argument(
        "--one-based-results", action="append", default=[], metavar="NAME", help="so do this tracker's files"
    )


def run(args):
    """Compares trackers by their result files, writes the report and prints the table.

    Raises:
      UserError: see `compare` and `open_benchmark`; a name that is twice there; and at the end, when files were wrong.
    """
    from relo_jax.data.datasets import layouts
    from relo_jax.data.datasets.attributes import attributes_of
    from relo_jax.eval.benchmarks import open_benchmark
    from relo_jax.eval.report import comparison_page
    from relo_jax.eval.report.comparison import compare
    from relo_jax.eval.report.comparison_files import write_tables
    from relo_jax.eval.report.omissions import oddities

    folders = named_folders(args.results)
    if args.against is not None and args.against not in folders:
        raise UserError(f"no tracker is called {args.against}: they are {', '.join(folders)}")
    if args.resamples < 1 or args.worst < 0:
        raise UserError(f"{args.resamples} resamples and {args.worst} worst sequences: give at least 1 and 0")
    against, out = args.against or next(iter(folders)), Path(args.out)
    benchmark = open_benchmark(args.dataset, args.data_root, args.split, args.one_based)
    comparison = compare(benchmark, folders, one_based=args.one_based_results, resamples=args.resamples)
    attributes = {}
    if args.dataset in layouts.NAMES:
        attributes = attributes_of(layouts.dataset_layout(args.dataset), args.data_root, comparison.names)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from None
    _clear_earlier(out)
    facts = _facts(comparison, args.dataset, args.data_root)
    comparison_page.write_comparison(out, comparison, against, attributes=attributes, worst=args.worst, facts=facts)
    write_tables(out, comparison, attributes, facts)
    print(_table(comparison))
    for line in oddities(comparison):
        print(line, file=sys.stderr)
    print(f"written to {out}: report.html, {_SUMMARY_FILE}, plots as .svg, .pdf and .png, tables as .csv and .tex")
    bad = [(label, reason) for label, entry in comparison.entries.items() for reason in entry.bad.values()]
    if bad:
        raise UserError(f"{len(bad)} result files cannot be used, the first of {bad[0][0]}: {bad[0][1]}")


def named_folders(results):
    """Label -> folder, of "NAME=FOLDER" or "FOLDER". A folder alone is called what `relo eval` wrote into it, or as it
    is named.

    Raises:
      UserError: a name or a folder is missing, or a name is twice there.
    """
    folders = {}
    for text in results:
        # Names and folders may have a = of their own: it is parted where a folder begins that is there.
        splits = [(text[: m.start()], text[m.end() :]) for m in re.finditer("=", text)]
        if not splits or Path(text).is_dir():
            name, folder = _own_name(Path(text)), text
        else:
            name, folder = next((s for s in splits if s[1] and Path(s[1]).is_dir()), splits[0])
        name, folder = name.strip(), folder.strip()
        if not name or not folder:
            raise UserError(f"{text!r} is not NAME=FOLDER, such as ours=results/ours")
        if name in folders:
            raise UserError(f"two trackers are called {name}: name them, {name}=... and {name}-2=...")
        folders[name] = Path(folder)
    if not folders:
        raise UserError("no results to compare: name a folder of them, NAME=FOLDER")
    return folders


def _clear_earlier(out):
    """Removes what an earlier report left in its folder that this one may not write again, and nothing else."""
    if not (out / _SUMMARY_FILE).is_file():
        return
    try:
        for path in [path for pattern in _SOMETIMES for path in out.glob(pattern)]:
            path.unlink()
    except OSError as error:
        raise UserError(f"{out}: an earlier report in it cannot be removed: {error.strerror}") from None


def _own_name(folder):
    """What a folder of results is called by itself."""
    try:
        name = json.loads((folder / "summary.json").read_text()).get("tracker")
    except (OSError, ValueError, AttributeError):
        name = None
    return name if isinstance(name, str) and name else folder.absolute().name


def _facts(comparison, dataset, data_root):
    folders = {f"results of {label}": str(entry.folder) for label, entry in comparison.entries.items()}
    return {
        "command": shlex.join(["relo", *sys.argv[1:]]) if sys.argv[1:2] == ["report"] else "relo report",
        "dataset": f"{comparison.benchmark.title}, {len(comparison.benchmark)} sequences, rules: "
        f"{'GOT-10k' if dataset == 'got10k' else comparison.benchmark.rules}",
        "data": str(data_root) if data_root else "RELO_DATA_DIR",
        **folders,
        "relo_jax": relo_jax.__version__,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _table(comparison):
    """The ranking for a terminal."""
    width = max(len("tracker"), *map(len, comparison.entries))
    lines = [f"{'tracker':<{width}}" + "".join(f"{name:>8}" for name in comparison.columns.values())]
    for label in comparison.ranked:
        lines.append(f"{label:<{width}}" + "".join(f"{v:8.3f}" for v in comparison.overall(label).values()))
    return "\n".join(lines)
