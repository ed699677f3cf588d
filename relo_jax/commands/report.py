"""`relo report`: result folders of any trackers in, one page, plots and tables out."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import relo_jax
from relo_jax.commands.arguments import add_dataset
from relo_jax.errors import UserError, did_you_mean
from relo_jax.files import make_folder
from relo_jax.tables import counted

if TYPE_CHECKING:
    from relo_jax.eval.report.comparison import Comparison
    from relo_jax.eval.report.failure_cases import Looks

# Files that only some reports have. One from an earlier report would be taken for this one's.
_SOMETIMES = ("attributes.csv", "attributes.tex", "reliability.*", "differences.tex", "differences.svg",
              "differences.pdf", "differences.png", "differences-*.svg", "differences-*.pdf",
              "differences-*.png")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo report`."""
    results = "a tracker and the folder of its results; FOLDER alone gives the name too"
    parser.add_argument("results", nargs="+", metavar="NAME=FOLDER", help=results)
    add_dataset(parser, "folder")
    out = "folder to write (default results/report)"
    parser.add_argument("--out", type=Path, default="results/report", metavar="DIR", help=out)
    parser.add_argument("--against", metavar="NAME", help="tracker to compare the others with (default: the first)")
    worst = "number of that tracker's worst sequences to show (default 4)"
    parser.add_argument("--worst", type=int, default=4, metavar="N", help=worst)
    heatmap = "checkpoint of that tracker, tracked once more to draw where its policy looked in those sequences"
    parser.add_argument("--heatmap", metavar="CHECKPOINT", help=heatmap)
    title = "headline of the page (default: the trackers and the dataset)"
    parser.add_argument("--title", metavar="TEXT", help=title)
    parser.add_argument("--resamples", type=int, default=10_000, metavar="N", help="bootstrap samples (default 10000)")
    boxes = "measure truncated boxes, as behind published numbers, or the files' (default: truncated if some files "
    boxes += "have whole numbers)"
    parser.add_argument("--boxes", choices=["whole", "float"], help=boxes)
    parser.add_argument(
        "--one-based-results", action="append", default=[], metavar="NAME", help="tracker whose files count pixels "
        "from 1; may be repeated",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Compares trackers by their result files, writes the report and prints the table.

    Raises:
      UserError: see `compare` and `open_benchmark`; a name given twice; at the end, if files were wrong.
    """
    from relo_jax.data.datasets import layouts
    from relo_jax.data.datasets.attributes import attributes_of
    from relo_jax.eval.benchmarks import open_benchmark
    from relo_jax.eval.report import comparison_page, tables
    from relo_jax.eval.report.comparison import compare
    from relo_jax.eval.report.comparison_files import SUMMARY_FILE, write_tables

    folders = named_folders(args.results)
    if args.against is not None and args.against not in folders:
        raise UserError(f"no tracker is called {args.against!r}{did_you_mean(args.against, folders)}")
    if args.resamples < 1 or args.worst < 0:
        raise UserError(f"{args.resamples} resamples and {args.worst} worst sequences: give at least 1 and 0")
    against, out = args.against or next(iter(folders)), Path(args.out)
    benchmark = open_benchmark(args.dataset, args.data_root, args.split, args.one_based)
    comparison = compare(
        benchmark, folders, one_based=args.one_based_results, resamples=args.resamples, boxes=args.boxes
    )
    attributes = {}
    if args.dataset in layouts.NAMES:
        attributes = attributes_of(layouts.dataset_layout(args.dataset), args.data_root, comparison.names)
    looks = _looks(args.heatmap, folders[against]) if args.heatmap and args.worst else None
    make_folder(out)
    if (out / SUMMARY_FILE).is_file():
        _clear_earlier(out)
    facts = _facts(comparison, args.data_root)
    comparison_page.write_comparison(
        out, comparison, against, attributes=attributes, worst=args.worst, facts=facts, title=args.title, looks=looks
    )
    write_tables(out, comparison, attributes, facts)
    ranking = {label: comparison.overall(label) for label in comparison.ranked}
    print(tables.as_text("tracker", comparison.columns, ranking))
    print(comparison.boxes.sentence())
    for line in comparison.warnings():
        if line == comparison.boxes.warning():
            continue  # was just printed
        print(line, file=sys.stderr)
    page = comparison_page.PAGE_FILE
    print(f"written to {out}: {page}, {SUMMARY_FILE}, plots as .svg, .pdf and .png, tables as .csv and .tex")
    bad = [(label, reason) for label, entry in comparison.entries.items() for reason in entry.bad.values()]
    if bad:
        raise UserError(f"{len(bad)} result files cannot be used, the first of {bad[0][0]}: {bad[0][1]}")


def named_folders(results: Iterable[str]) -> dict[str, Path]:
    """Label -> folder, from "NAME=FOLDER" or "FOLDER".

    The label of a folder alone is the tracker's name in the summary of `relo eval`, or the folder's own name.

    Raises:
      UserError: a name or a folder is missing, or a name is given twice.
    """
    folders = {}
    for text in results:
        # Names and folders may contain =. The folder begins after the first = that is followed by an existing one.
        splits = [(text[: m.start()], text[m.end() :]) for m in re.finditer("=", text)]
        if not splits or _is_folder(text):
            name, folder = _own_name(Path(text)), text
        else:
            name, folder = next((s for s in splits if s[1] and _is_folder(s[1])), splits[0])
        name, folder = name.strip(), folder.strip()
        if not name or not folder:
            raise UserError(f"{text!r} is not NAME=FOLDER, such as ours=results/ours")
        if name in folders:
            raise UserError(f"two trackers are called {name}: name them, such as {name}=... and {name}-2=...")
        folders[name] = Path(folder)
    if not folders:
        raise UserError("no results to compare: name a folder of them, NAME=FOLDER")
    return folders


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def _looks(checkpoint: str, results: Path) -> Looks:
    from relo_jax.eval.report.looks import looks_of  # with JAX, which numbers alone do not need

    return looks_of(checkpoint, results)


def _clear_earlier(out: Path) -> None:
    """Removes the files of an earlier report that this one may not overwrite."""
    try:
        for path in [path for pattern in _SOMETIMES for path in out.glob(pattern)]:
            path.unlink()
    except OSError as error:
        raise UserError(f"{out}: an earlier report in it cannot be removed: {error.strerror}") from None


def _own_name(folder: Path) -> str:
    """The label of a folder that is given without a name."""
    try:
        name = json.loads((folder / "summary.json").read_text()).get("tracker")
    except (OSError, ValueError, AttributeError):
        name = None
    return name if isinstance(name, str) and name else folder.absolute().name


def _facts(comparison: Comparison, data_root: str | None) -> dict[str, str]:
    benchmark = comparison.benchmark
    rules = "GOT-10k" if benchmark.name == "got10k" else benchmark.rules
    folders = {f"results of {label}": str(entry.folder) for label, entry in comparison.entries.items()}
    return {
        "command": shlex.join(["relo", *sys.argv[1:]]) if sys.argv[1:2] == ["report"] else "relo report",
        "dataset": f"{benchmark.title}, {counted(len(benchmark), 'sequence')}, rules: {rules}",
        "boxes": comparison.boxes.name,
        "data": str(data_root) if data_root else "RELO_DATA_DIR",
        **folders,
        "relo_jax": relo_jax.__version__,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
