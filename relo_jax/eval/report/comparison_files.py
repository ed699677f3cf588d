"""The numbers of a comparison as files: CSV, LaTeX and JSON (tables.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import relo_jax
from relo_jax.data.datasets.attributes import NAMES
from relo_jax.eval.report import tables
from relo_jax.eval.report.comparison import Comparison

SUMMARY_FILE = "report.json"  # `relo eval` writes summary.json
_DIFFERENCE = ("first", "second", "number", "difference", "low", "high", "better", "equal", "worse")


def write_tables(
    out: Path, comparison: Comparison, attributes: Mapping[str, Sequence[str]], facts: Mapping[str, object]
) -> None:
    """Writes `ranking`, `differences` and `attributes` as .csv and .tex, `sequences` as .csv, and `report.json`.

    Args:
      out: an existing folder.
      comparison: the trackers.
      attributes: name of a sequence -> its attributes.
      facts: what else to state -> text.

    Raises:
      UserError: cannot be written.
    """
    numbers_of = summary(comparison, attributes)
    trackers, columns = numbers_of["trackers"], comparison.columns
    what = f"{comparison.benchmark.title}, {len(comparison.names)} sequences, {comparison.boxes.name}"
    comment = f"{what}; relo_jax {relo_jax.__version__}"
    overall = {label: [numbers[c] for c in columns] for label, numbers in trackers.items()}
    tables.write_latex(out / "ranking.tex", list(columns.values()), overall, comment=comment)
    speeds = [[(t["speed"] or {}).get(k) for k in ("median_ms", "fps")] for t in trackers.values()]
    rows = [
        [label, *numbers, len(comparison.names), *speed]
        for (label, numbers), speed in zip(overall.items(), speeds, strict=True)
    ]
    heads = ["tracker", *columns.values(), "sequences", "median ms", "frames/s"]
    tables.write_csv(out / "ranking.csv", heads, rows)
    _write_differences(out, numbers_of["differences"], columns, comment, not comparison.is_small)
    rows = [[name, *numbers.values()] for name, numbers in numbers_of["sequences"].items()]
    tables.write_csv(out / "sequences.csv", ["sequence", *trackers], rows)
    if numbers_of["attributes"]:
        _write_attributes(out, numbers_of["attributes"], list(trackers), f"{comparison.heading}; {comment}")
    tables.write_json(out / SUMMARY_FILE, {**numbers_of, "made": facts})


def summary(comparison: Comparison, attributes: Mapping[str, Sequence[str]]) -> dict:
    """All numbers of a comparison as a JSON-able dict, the best tracker first.

    Args: as `write_tables`.
    """
    ranked, main = comparison.ranked, comparison.main
    pairs = [(first, second) for k, first in enumerate(ranked) for second in ranked[k + 1 :]]
    values = {label: comparison.values(label).tolist() for label in ranked}
    return {
        "dataset": comparison.benchmark.title,
        "ranked_by": main,
        "boxes": comparison.boxes.summary(),
        "trackers": {
            label: {
                "folder": str(comparison.entries[label].folder),
                **comparison.overall(label),
                "speed": comparison.speed(label),
            }
            for label in ranked
        },
        "differences": [_difference(comparison, *pair, column) for pair in pairs for column in comparison.columns],
        "attributes": {
            attribute: {
                "sequences": len(names),
                **{label: comparison.overall(label, names)[main] for label in ranked},
            }
            for attribute, names in comparison.by_attribute(attributes).items()
        },
        "sequences": {name: {k: v[i] for k, v in values.items()} for i, name in enumerate(comparison.names)},
        "bootstrap": {"resamples": comparison.resamples, "seed": comparison.seed, "level": 0.95},
        "left_out_or_odd": comparison.warnings(),
    }


def _difference(comparison: Comparison, first: str, second: str, column: str) -> dict:
    interval = comparison.interval(first, second, column)
    values = (interval.difference, interval.low, interval.high, *comparison.wins(first, second, column))
    return dict(zip(_DIFFERENCE, (first, second, column, *values), strict=True))


def _write_differences(
    out: Path, differences: Iterable[dict], columns: Mapping[str, str], comment: str, bold: bool
) -> None:
    """CSV has a row for each pair and number, LaTeX a row for each pair; no LaTeX without a pair."""
    rows = [[columns[value] if key == "number" else value for key, value in d.items()] for d in differences]
    tables.write_csv(out / "differences.csv", _DIFFERENCE, rows)
    pairs: dict[str, list] = {}
    for d in differences:
        cells = pairs.setdefault(f"{d['first']} minus {d['second']}", [])
        cells.append((d["difference"], d["low"], d["high"]))
    if pairs:
        comment = f"95 % intervals of a paired bootstrap{', bold if it excludes 0' if bold else ''}; {comment}"
        tables.write_latex_intervals(out / "differences.tex", list(columns.values()), pairs, comment=comment, bold=bold)


def _write_attributes(out: Path, attributes: Mapping[str, dict], labels: Sequence[str], comment: str) -> None:
    """LaTeX has a row for each tracker and the attributes' short names, so that the best of each stands out."""
    rows = [[attribute, *numbers.values()] for attribute, numbers in attributes.items()]
    tables.write_csv(out / "attributes.csv", ["attribute", "sequences", *labels], rows)
    short = {long: short for short, long in NAMES.items()}
    by_label = {label: [numbers[label] for numbers in attributes.values()] for label in labels}
    tables.write_latex(out / "attributes.tex", [short[a] for a in attributes], by_label, comment=comment)
