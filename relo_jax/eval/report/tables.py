"""The numbers of a comparison as files: CSV for a spreadsheet, LaTeX (booktabs) for a paper, JSON for a program."""

import csv
import io
import json
import math

from relo_jax.files import atomic_write

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: f"\\{c}" for c in "&%$#_{}"
}


def write_csv(path, heads, rows):
    """Writes a table; NaN and None become empty cells.

    Raises:
      UserError: cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([["" if _unknown(v) else _short(v) for v in row] for row in rows])
    _write(path, text.getvalue())


def write_latex(path, heads, rows, *, label="tracker", comment=""):
    """Writes a table for booktabs: shares as percentages with one decimal, the best of a column bold, the second
    underlined.

    Args:
      path: the .tex file, for `\\input`; needs `\\usepackage{booktabs}`.
      heads: of the columns of numbers.
      rows: label -> numbers in [0, 1], one a head, NaN or None for none.
      label: heading of the first column.
      comment: what a reader of the file should know, one line.

    Raises:
      UserError: cannot be written.
    """
    best = [_best(row[k] for row in rows.values()) for k in range(len(heads))]
    cells = {k: [_percent(v, *ranks) for v, ranks in zip(row, best, strict=True)] for k, row in rows.items()}
    _write_tabular(path, [label, *heads], cells, comment)


def write_latex_intervals(path, heads, rows, *, label="difference", comment=""):
    """Writes a table of differences for booktabs: percentage points with one decimal and their interval in brackets,
    bold where the interval leaves 0 out.

    Args: as `write_latex`, but
      rows: label -> (difference, low, high) of numbers in [0, 1], one a head, NaN for none.

    Raises:
      UserError: cannot be written.
    """
    cells = {name: [_interval(*values) for values in row] for name, row in rows.items()}
    _write_tabular(path, [label, *heads], cells, comment)


def write_json(path, value):
    """Writes a JSON-able value; NaN becomes null.

    Raises:
      UserError: cannot be written.
    """
    _write(path, json.dumps(without_nan(value), indent=2) + "\n")


def latex(text):
    """Text as LaTeX has it."""
    return "".join(_SPECIAL.get(c, c) for c in str(text))


def without_nan(value):
    """A copy of a JSON-able value in which NaN is None: JSON has no NaN."""
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_tabular(path, heads, rows, comment):
    """rows: label -> cells as LaTeX, one a head but the first."""
    lines = [f"% {comment}"] if comment else []
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(latex, heads)) + r" \\", r"\midrule"]
    lines += [" & ".join([latex(name), *cells]) + r" \\" for name, cells in rows.items()]
    _write(path, "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n")


def _best(column):
    """The best and the second best value, as they are printed, of a column; None where there is none."""
    printed = sorted({_rounded(v) for v in column if not _unknown(v)}, reverse=True)
    return (*printed, None, None)[:2]


def _percent(value, best, second):
    if _unknown(value):
        return "--"
    text = f"{_rounded(value):.1f}"
    if _rounded(value) == best:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if _rounded(value) == second else text


def _interval(difference, low, high):
    if _unknown(difference):
        return "--"
    number, low_text, high_text = (f"{100 * v:+.1f}" for v in (difference, low, high))
    number = rf"\mathbf{{{number}}}" if low > 0 or high < 0 else number
    return f"${number}$ [${low_text}$, ${high_text}$]"


def _rounded(value):
    return round(100 * value, 1)


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def _unknown(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def _write(path, text):
    with atomic_write(path) as file:
        file.write_text(text, encoding="utf-8")
