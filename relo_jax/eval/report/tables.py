"""Tables of numbers: text for a terminal, CSV for a spreadsheet, LaTeX (booktabs) for a paper, JSON for a program."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relo_jax import tables
from relo_jax.files import atomic_write

_FORMULA = ("=", "+", "-", "@")  # begin a formula in a spreadsheet
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: f"\\{c}" for c in "&%$#_{}"
}


def as_text(heading: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, float]]) -> str:
    """A table for a terminal: a line for each row, with three decimals.

    Args:
      heading: of the labels.
      columns: name of a number -> its heading.
      rows: label -> numbers by name.
    """
    cells = [
        [tables.printable(label), *(f"{numbers[name]:.3f}" for name in columns)] for label, numbers in rows.items()
    ]
    return tables.terminal([[heading, *columns.values()], *cells], "l" + "r" * len(columns))


def write_csv(path: Path, heads: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Writes a table; NaN and None become empty cells. A text that a spreadsheet would run as a formula gets a quote.

    Raises:
      UserError: cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(head) for head in heads])
    writer.writerows([["" if _unknown(v) else _cell(v) for v in row] for row in rows])
    _write(path, text.getvalue())


def write_latex(path: Path, heads: Sequence[str], rows: Mapping[str, Sequence[float | None]], *, comment: str) -> None:
    """Writes a table of trackers for booktabs: percentages with one decimal; the best of a column is bold, the second
    best underlined.

    Args:
      path: the .tex file, for `\\input`; needs `\\usepackage{booktabs}`.
      heads: headings of the columns of numbers.
      rows: label -> numbers in [0, 1], one a heading; NaN or None if unknown.
      comment: one line at the top of the file.

    Raises:
      UserError: cannot be written.
    """
    best = [_best(row[k] for row in rows.values()) for k in range(len(heads))]
    cells = {k: [_percent(v, *ranks) for v, ranks in zip(row, best, strict=True)] for k, row in rows.items()}
    _write_tabular(path, ["tracker", *heads], cells, comment)


def write_latex_intervals(
    path: Path,
    heads: Sequence[str],
    rows: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    comment: str,
    bold: bool = True,
) -> None:
    """Writes a table of differences for booktabs: percentage points with one decimal and the interval in brackets.

    Args: as `write_latex`, except
      rows: label -> (difference, low, high) of numbers in [0, 1], one a heading; NaN if unknown.
      bold: whether a difference is bold if its interval excludes 0.

    Raises:
      UserError: cannot be written.
    """
    cells = {name: [_interval(*values, bold) for values in row] for name, row in rows.items()}
    _write_tabular(path, ["difference", *heads], cells, comment)


def write_json(path: Path, value: object) -> None:
    """Writes a JSON-able value; NaN becomes null.

    Raises:
      UserError: cannot be written.
    """
    _write(path, json.dumps(without_nan(value), indent=2) + "\n")


def latex(text: object) -> str:
    """Text with the special characters of LaTeX escaped."""
    return "".join(_SPECIAL.get(c, c) for c in tables.printable(text))


def without_nan(value: Any) -> Any:
    """A copy of a JSON-able value with None for NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_tabular(path, heads, rows, comment):
    """rows: label -> cells as LaTeX, one for each heading except the first."""
    lines = [f"% {tables.printable(comment, 1000)}", rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(latex, heads)) + r" \\", r"\midrule"]
    lines += [" & ".join([latex(name), *cells]) + r" \\" for name, cells in rows.items()]
    _write(path, "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n")


def _best(column):
    """The best and the second best value of a column, as printed; None if there is none."""
    printed = sorted({_rounded(v) for v in column if not _unknown(v)}, reverse=True)
    return (*printed, None, None)[:2]


def _percent(value, best, second):
    if _unknown(value):
        return "--"
    text = f"{_rounded(value):.1f}"
    if _rounded(value) == best:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if _rounded(value) == second else text


def _interval(difference, low, high, bold):
    if _unknown(difference):
        return "--"
    number, low_text, high_text = (f"{100 * v:+.1f}" for v in (difference, low, high))
    number = rf"\mathbf{{{number}}}" if bold and (low > 0 or high < 0) else number
    return f"${number}$ [${low_text}$, ${high_text}$]"


def _rounded(value):
    return round(100 * value, 1)


def _cell(value):
    if not isinstance(value, str):
        return f"{value:.6g}" if isinstance(value, float) else value
    text = tables.printable(value, 1000)
    return f"'{text}" if text.lstrip()[:1] in _FORMULA else text


def _unknown(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def _write(path, text):
    with atomic_write(path) as file:
        file.write_text(text, encoding="utf-8")
