"""The results of a study: means with intervals, differences to the first arm, and tables.

Both the seeds of the trainings and the sequences of the evaluation are samples, so the intervals resample both
(`eval.bootstrap.crossed_interval`). Arms are compared seed by seed and sequence by sequence: a seed gives all arms the
same clips.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from relo_jax import tables
from relo_jax.eval.bootstrap import crossed_interval, draw
from relo_jax.eval.metrics import NEVER_MOVES
from relo_jax.study.arm import Run
from relo_jax.study.studies import Study

RESAMPLES = 10_000
SHARES = (0.9, 0.95, 0.99)  # of the first arm's final AUC, for `steps_to`

Curves = Mapping[str, list[list[tuple[int, int, float]]]]


def summary(study: Study, runs: Mapping[str, list[Run]]) -> dict:
    """The numbers of all tables, JSON-able.

    Args:
      study: the study.
      runs: arm -> its runs, one for each seed; arms in the order of the study.

    Returns:
      `evaluations` (title -> arm -> numbers), `never_moves` (title -> AUC), `curves` (arm -> one for each seed) and, if
      the study has it, `steps_to` (share -> arm -> one for each seed, None if the seed never reached it).
    """
    first = study.arms[0]
    numbers: dict[str, Any] = {"arms": list(study.arms), "evaluations": {}, "never_moves": {}}
    for title in runs[first][0].auc:
        numbers["evaluations"][title] = compare({arm: matrix(runs[arm], title) for arm in study.arms})
        numbers["never_moves"][title] = runs[first][0].still[title]
    numbers["curves"] = {arm: [run.curve for run in runs[arm]] for arm in study.arms}
    if study.steps_to:
        numbers["steps_to"] = steps_to(numbers["curves"], first)
    return numbers


def matrix(runs: Sequence[Run], title: str) -> np.ndarray:
    """The AUC of every seed on every sequence, float64 [S, N]."""
    names = sorted(runs[0].auc[title])
    return np.array([[run.auc[title][name] for name in names] for run in runs], np.float64)


def compare(values: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Compares arms on one set of sequences.

    Args:
      values: arm -> [S, N]; the others are compared with the first arm.

    Returns:
      arm -> `auc`, `low`, `high` (the mean and its 95 % interval), `seeds` (the mean of each) and `sequences` (their
      number); except for the first arm also `difference`, with `mean`, `low`, `high` and `seeds`.
    """
    first = next(iter(values.values()))
    drawn = draw(first.shape[0], RESAMPLES, seed=0), draw(first.shape[1], RESAMPLES, seed=1)

    def row(numbers, name):
        interval = crossed_interval(numbers, *drawn)
        seeds = numbers.mean(1).tolist()
        return {name: interval.difference, "low": interval.low, "high": interval.high, "seeds": seeds}

    rows = {}
    for arm, numbers in values.items():
        rows[arm] = row(numbers, "auc") | {"sequences": numbers.shape[1]}
        if numbers is not first:
            rows[arm]["difference"] = row(numbers - first, "mean")
    return rows


def steps_to(curves: Curves, first: str) -> dict[str, dict[str, list[int | None]]]:
    """The first step at which each seed's held-out AUC reached a share of the first arm's final AUC with that seed."""
    ends = [curve[-1][2] for curve in curves[first]]

    def reached(curve, goal):
        return next((step for step, _, auc in curve if auc >= goal), None)

    return {
        f"{share:g}": {
            arm: [reached(curve, share * end) for curve, end in zip(seeds, ends, strict=True)]
            for arm, seeds in curves.items()
        }
        for share in SHARES
    }


def table(name: str, study: Study, numbers: dict, scale: float) -> str:
    """All tables of a study with their notes, as Markdown; `numbers` is of `summary`."""
    lines = [f"# {name}", "", study.question, ""]
    for title, arms in numbers["evaluations"].items():
        lines += [*_auc_table(title, arms, numbers["never_moves"][title]), ""]
    if "steps_to" in numbers:
        lines += [*_steps_table(numbers["steps_to"], study.arms[0]), ""]
    return "\n".join(lines + _notes(next(iter(numbers["evaluations"].values())), scale))


def _auc_table(title, arms, still):
    first, (*_, last) = next(iter(arms)), arms.values()
    seeds = [f"seed {seed}" for seed in range(len(last["seeds"]))]
    heads, rows = ["arm", "AUC", "95 %", *seeds, f"minus {first}", "95 %", "seeds above"], []
    for arm, row in arms.items():
        cells = [arm, f"{row['auc']:.3f}", _interval(row, ".3f"), *(f"{auc:.3f}" for auc in row["seeds"])]
        if "difference" in row:
            less = row["difference"]
            above = sum(seed > 0 for seed in less["seeds"])
            cells += [f"{less['mean']:+.3f}", _interval(less, "+.3f"), f"{above} of {len(less['seeds'])}"]
        else:
            cells += ["", "", ""]
        rows.append(cells)
    title = f"AUC on {last['sequences']} sequences ({title}); of a {NEVER_MOVES}: {still:.3f}"
    return [title, "", tables.markdown(heads, rows)]


def _interval(row, form):
    return f"{row['low']:{form}} to {row['high']:{form}}"


def _steps_table(steps, first):
    title = f"Steps until the held-out AUC reached a share of the final AUC of {first}, by seed (-: never)"
    cell = lambda found: ", ".join("-" if step is None else str(step) for step in found)
    rows = [[arm, *(cell(steps[share][arm]) for share in steps)] for arm in next(iter(steps.values()))]
    return [title, "", tables.markdown(["arm", *map(str, steps)], rows)]


def _notes(arms, scale):
    """Notes on the intervals, and on a study that was shortened."""
    count = len(next(iter(arms.values()))["seeds"])
    if count == 1:
        about = (
            "One seed: the intervals cover other sequences of the same kind, but not how much another training would "
            "differ."
        )
    else:
        narrow = math.sqrt((count - 1) / count)
        about = (
            f"The intervals contain 95 % of {RESAMPLES:,} means over {count} seeds and all sequences, both resampled. "
            f"Resampled seeds vary less than new trainings would, by a factor of about {narrow:.2f}, and the tails of "
            "so few are unknown: believe a difference if its interval excludes 0 and all seeds agree. Other kinds of "
            "video, other budgets and other sizes of the model are not covered."
        )
    notes = [about]
    if scale != 1:
        notes.append(f"All numbers of steps were multiplied by {scale:g}: this is not the study at its full length.")
    return [line for note in notes for line in (note, "")]
