"""The numbers of a comparison as files: CSV, LaTeX and JSON, see tables.py for their forms."""

import relo_jax
from relo_jax.data.datasets.attributes import NAMES
from relo_jax.eval.report import tables
from relo_jax.eval.report.omissions import oddities

SUMMARY_FILE = "report.json"  # summary.json is `relo eval`'s
_DIFFERENCE = ("first", "second", "number", "difference", "low", "high", "better", "equal", "worse")


def write_tables(out, comparison, attributes, facts):
    """Writes `ranking`, `differences` and `attributes` as .csv and .tex, `sequences` as .csv, and `report.json`.

    Args:
      out: the folder, there already.
      comparison: `comparison.Comparison`.
      attributes: name of a sequence -> its attributes.
      facts: dict of what else to know -> text.

    Raises:
      UserError: cannot be written.
    """
    found = summary(comparison, attributes)
    trackers, columns, main = found["trackers"], comparison.columns, comparison.main
    comment = f"{comparison.benchmark.title}, {len(comparison.names)} sequences; relo_jax {relo_jax.__version__}"
    overall = {label: [numbers[c] for c in columns] for label, numbers in trackers.items()}
    tables.write_latex(out / "ranking.tex", list(columns.values()), overall, comment=comment)
    speeds = [[(t["speed"] or {}).get(k) for k in ("median_ms", "fps")] for t in trackers.values()]
    rows = [
        [label, *numbers, len(comparison.names), *speed]
        for (label, numbers), speed in zip(overall.items(), speeds, strict=True)
    ]
    heads = ["tracker", *columns.values(), "sequences", "median ms", "frames/s"]
    tables.write_csv(out / "ranking.csv", heads, rows)
    _write_differences(out, found["differences"], columns, comment)
    rows = [[name, *numbers.values()] for name, numbers in found["sequences"].items()]
    tables.write_csv(out / "sequences.csv", ["sequence", *trackers], rows)
    if found["attributes"]:
        _write_attributes(out, found["attributes"], list(trackers), f"{columns[main]}; {comment}")
    tables.write_json(out / SUMMARY_FILE, {**found, "made": facts})


def summary(comparison, attributes):
    """Everything that is compared as a JSON-able dict; trackers come best first, and of a pair the number that ranks.

    Args: as `write_tables`.
    """
    ranked, main = comparison.ranked, comparison.main
    pairs = [(first, second) for k, first in enumerate(ranked) for second in ranked[k + 1 :]]
    values = {label: comparison.values(label).tolist() for label in ranked}
    return {
        "dataset": comparison.benchmark.title,
        "ranked_by": main,
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
        "left_out_or_odd": oddities(comparison),
    }


def _difference(comparison, first, second, column):
    interval = comparison.interval(first, second, column)
    values = (interval.difference, interval.low, interval.high, *comparison.wins(first, second, column))
    return dict(zip(_DIFFERENCE, (first, second, column, *values), strict=True))


def _write_differences(out, found, columns, comment):
    """In the spreadsheet a row a pair and number, in LaTeX a row a pair, where there is one."""
    rows = [[columns[value] if key == "number" else value for key, value in d.items()] for d in found]
    tables.write_csv(out / "differences.csv", _DIFFERENCE, rows)
    pairs = {}
    for d in found:
        cells = pairs.setdefault(f"{d['first']} minus {d['second']}", [])
        cells.append((d["difference"], d["low"], d["high"]))
    if pairs:
        comment = f"95 % intervals of a paired bootstrap, bold where 0 is not in it; {comment}"
        tables.write_latex_intervals(out / "differences.tex", list(columns.values()), pairs, comment=comment)


def _write_attributes(out, found, labels, comment):
    """In LaTeX a row a tracker and a short name an attribute, so that the best of each stands out."""
    rows = [[attribute, *numbers.values()] for attribute, numbers in found.items()]
    tables.write_csv(out / "attributes.csv", ["attribute", "sequences", *labels], rows)
    short = {long: short for short, long in NAMES.items()}
    rows = {label: [numbers[label] for numbers in found.values()] for label in labels}
    tables.write_latex(out / "attributes.tex", [short[a] for a in found], rows, comment=comment)
