"""Tables of text: Markdown for pages, aligned columns for a terminal.

Columns are aligned by a string with a letter for each: "l" (left) or "r" (right).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_RULES = {"l": ":--", "r": "--:"}


def counted(count: int, thing: str) -> str:
    """`1 sequence`, `1,120 sequences`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def printable(text: object, most: int = 200) -> str:
    """Text of others, such as a file's name, fit for a page or a terminal: one line of printable characters.

    A character that cannot be printed, such as half of a pair of surrogates, is shown by its code. At most `most`
    characters are kept.
    """
    line = " ".join(str(text)[: most + 1].splitlines())
    line = "".join(c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= most else f"{line[: most - 1]}\u2026"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """A Markdown table.

    Args:
      heads: headings.
      rows: cells, one a heading; `|` is escaped in them.
      align: a letter for each column; "": the default of whoever shows the page.
    """
    rules = [_RULES[letter] for letter in align] or ["---"] * len(heads)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    head, *body = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([head, f"|{'|'.join(rules)}|", *body])


def terminal(rows: Iterable[Sequence[str]], align: str, indent: str = "") -> str:
    """A table for a terminal: columns as wide as their longest cell, two spaces apart.

    Args:
      rows: cells, also those of the headings; a row may be shorter than `align`.
      align: a letter for each column.
      indent: begins each line.
    """
    padded = [[*row, *[""] * (len(align) - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*padded, strict=True)]
    lines = []
    for row in padded:
        columns = zip(row, widths, align, strict=True)
        cells = [cell.rjust(width) if letter == "r" else cell.ljust(width) for cell, width, letter in columns]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)
