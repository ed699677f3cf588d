"""Where a measured number stands among the trackers of the paper's main tables.

The papers' numbers are of whole-number boxes (docs/evaluation.md), and so is the measured number that is ranked here.
"""

from __future__ import annotations

from collections.abc import Mapping

from relo_jax import tables
from relo_jax.config.published_tables import COLUMNS, TRACKERS, Numbers
from relo_jax.data.datasets import layouts

HEADING = "Among the trackers of the paper's main tables, by whole-number boxes"


def ranking(dataset: str, name: str, numbers: Mapping[str, float]) -> list[tuple[str, Numbers]]:
    """The published rows of a dataset and a measured one, best first.

    Args:
      dataset: one of `TRACKERS`.
      name: of the measured row.
      numbers: measured, in per cent, by the names of `COLUMNS`; the first must be there.

    Returns:
      (tracker, its numbers in the order of `COLUMNS`). The measured row follows those that equal it when printed.
    """
    measured = tuple(numbers.get(column) for column in COLUMNS[dataset])
    rows = [*TRACKERS[dataset].items(), (name, measured)]
    return sorted(rows, key=lambda row: -round(row[1][0] or 0.0, 1))


def line(dataset: str, name: str, numbers: Mapping[str, float]) -> str:
    """The measured row's place, between its neighbours: `place 3 of 9: RELO-B256 70.0 > 69.8 > ARTrack-L384 67.9`."""
    rows = ranking(dataset, name, numbers)
    place = next(index for index, row in enumerate(rows) if row[0] == name)
    shown = f"{rows[place][1][0]:.1f}"
    if place > 0:
        above, best = rows[place - 1][0], f"{rows[place - 1][1][0]:.1f}"
        shown = f"{above} {best} {'=' if best == shown else '>'} {shown}"
    if place + 1 < len(rows):
        shown += f" > {rows[place + 1][0]} {rows[place + 1][1][0]:.1f}"
    return f"place {place + 1} of {len(rows)}: {shown}"


def text(name: str, measured: Mapping[str, Mapping[str, float]]) -> str:
    """The places on all datasets, for a terminal; `measured` has the numbers of each dataset."""
    rows = [[layouts.dataset_layout(data).title, line(data, name, row)] for data, row in measured.items()]
    return f"{HEADING}:\n{tables.terminal(rows, 'll')}"


def markdown(dataset: str, name: str | None = None, numbers: Mapping[str, float] | None = None) -> str:
    """The table of a dataset's trackers; the measured row, if there is one, is bold."""
    rows = list(TRACKERS[dataset].items())
    if name is not None and numbers is not None:
        rows = ranking(dataset, name, numbers)
    heads = [layouts.dataset_layout(dataset).title, *COLUMNS[dataset].values()]
    cells = [[tracker, *("-" if number is None else f"{number:.1f}" for number in row)] for tracker, row in rows]
    cells = [[f"**{cell}**" for cell in row] if row[0] == name else row for row in cells]
    return tables.markdown(heads, cells, "l" + "r" * (len(heads) - 1))
