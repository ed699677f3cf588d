"""`relo report`: result folders of any trackers in, one page, plots and tables out."""

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import relo_jax
from relo_jax.data import sources
from relo_jax.data.attributes import attributes_of
from relo_jax.errors import UserError
from relo_jax.eval import comparison_page, tables
from relo_jax.eval.account import oddities
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.eval.comparison import compare

SUMMARY_FILE = "report.json"  # summary.json is `relo eval`'s


def report_command(
    results, dataset="folder", data_root=None, *, split=None, out="results/report", one_based=False,
    one_based_results=(), against=None, worst=4, resamples=10_000, seed=0,
):  # fmt: skip
    """Compares trackers by their result files, writes the report and prints the table.

    Args:
      results: "NAME=FOLDER" or "FOLDER", one a tracker; see `result_files.find_results` for layouts.
      dataset, data_root, split, one_based: what they were tracked on, see `benchmarks.open_benchmark`.
      out: the folder to write.
      one_based_results: names of trackers whose files count pixels from 1.
      against: name of the tracker that the others are compared with; None takes the first.
      worst: how many of its worst sequences are shown.
      resamples, seed: of the bootstrap.

    Raises:
      UserError: see `compare` and `open_benchmark`; a name that is twice there; and at the end, when files were wrong.
    """
    folders = named_folders(results)
    if against is not None and against not in folders:
        raise UserError(f"no tracker is called {against}: they are {', '.join(folders)}")
    if resamples < 1 or worst < 0:
        raise UserError(f"{resamples} resamples and {worst} worst sequences: give at least 1 and 0")
    against, out = against or next(iter(folders)), Path(out)
    benchmark = open_benchmark(dataset, data_root, split, one_based)
    comparison = compare(benchmark, folders, one_based=one_based_results, resamples=resamples, seed=seed)
    attributes = {}
    if dataset in sources.NAMES:
        attributes = attributes_of(sources.source(dataset), data_root, comparison.names)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from None
    facts = _facts(comparison, dataset, data_root)
    comparison_page.write_comparison(out, comparison, against, attributes=attributes, worst=worst, facts=facts)
    write_tables(out, comparison, attributes, facts)
    print(_table(comparison))
    for line in oddities(comparison):
        print(line, file=sys.stderr)
    print(f"written to {out}: report.html, {SUMMARY_FILE}, plots as .svg, .pdf and .png, tables as .csv and .tex")
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
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():
            name, folder = _own_name(Path(text)), text
        if not name.strip() or not folder.strip():
            raise UserError(f"{text!r} is not NAME=FOLDER, such as ours=results/ours")
        if name in folders:
            raise UserError(f"two trackers are called {name}: name them, {name}=... and {name}-2=...")
        folders[name] = Path(folder)
    if not folders:
        raise UserError("no results to compare: name a folder of them, NAME=FOLDER")
    return folders


def write_tables(out, comparison, attributes, facts):
    """Writes ranking, attributes, differences and sequences as tables, and all of it as JSON.

    Raises:
      UserError: cannot be written.
    """
    ranked, columns, main = comparison.ranked, comparison.columns, comparison.main
    overall = {label: comparison.overall(label) for label in ranked}
    comment = f"{comparison.benchmark.title}, {len(comparison.names)} sequences; relo_jax {relo_jax.__version__}"
    speed = {label: comparison.speed(label) for label in ranked}
    heads = ["tracker", *columns.values(), "sequences", "median ms", "frames/s"]
    rows = [[label, *overall[label].values(), len(comparison.names), *_speed_cells(speed[label])] for label in ranked]
    tables.write_csv(out / "ranking.csv", heads, rows)
    tables.write_latex(
        out / "ranking.tex", list(columns.values()), {k: list(v.values()) for k, v in overall.items()}, comment=comment
    )
    having = comparison.by_attribute(attributes)
    by_attribute = {a: {label: comparison.overall(label, names) for label in ranked} for a, names in having.items()}
    if having:
        rows = [[a, len(having[a]), *(n[label][main] for label in ranked)] for a, n in by_attribute.items()]
        tables.write_csv(out / "attributes.csv", ["attribute", "sequences", *ranked], rows)
        # A row a tracker, as in papers; the best of each attribute stands out.
        rows = {label: [n[label][main] for n in by_attribute.values()] for label in ranked}
        tables.write_latex(out / "attributes.tex", list(having), rows, comment=f"{columns[main]}; {comment}")
    differences = []
    for k, first in enumerate(ranked):
        for second in ranked[k + 1 :]:
            interval, wins = comparison.interval(first, second), comparison.wins(first, second)
            differences.append([first, second, interval.difference, interval.low, interval.high, *wins])
    heads = ["first", "second", f"{columns[main]} difference", "low", "high", "better", "equal", "worse"]
    tables.write_csv(out / "differences.csv", heads, differences)
    values = {label: comparison.values(label).tolist() for label in ranked}
    tables.write_csv(out / "sequences.csv", ["sequence", *ranked], zip(comparison.names, *values.values(), strict=True))
    summary = {
        "dataset": comparison.benchmark.title, "trackers": {
            label: {"folder": str(comparison.entries[label].folder), **overall[label], "speed": speed[label]}
            for label in ranked
        },
        "differences": [dict(zip(("first", "second", "difference", "low", "high", "better", "equal", "worse"), d,
                                 strict=True)) for d in differences],
        "attributes": {a: {"sequences": len(having[a]), **n} for a, n in by_attribute.items()},
        "sequences": {name: {k: v[i] for k, v in values.items()} for i, name in enumerate(comparison.names)},
        "bootstrap": {"resamples": comparison.resamples, "seed": comparison.seed, "level": 0.95},
        "left_out_or_odd": oddities(comparison), "made": facts,
    }  # fmt: skip
    tables.write_json(out / SUMMARY_FILE, summary)


def _own_name(folder):
    """What a folder of results is called by itself."""
    try:
        name = json.loads((folder / "summary.json").read_text()).get("tracker")
    except (OSError, ValueError, AttributeError):
        name = None
    return name if isinstance(name, str) and name else folder.absolute().name


def _speed_cells(speed):
    return (speed["median_ms"], speed["fps"]) if speed else (None, None)


def _facts(comparison, dataset, data_root):
    folders = {f"results of {label}": str(entry.folder) for label, entry in comparison.entries.items()}
    return {
        "command": shlex.join(["relo", *sys.argv[1:]]) if sys.argv[1:2] == ["report"] else "relo_jax.report_command",
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
