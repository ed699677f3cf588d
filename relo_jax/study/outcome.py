"""What a study found: means with intervals, differences to the first arm, and tables of them.

Both the seeds of the trainings and the sequences of the evaluation are samples, so both are drawn again for the
intervals (`eval.bootstrap.crossed_interval`). Arms are compared seed by seed and sequence by sequence: a seed gives all
arms the same clips.
"""

import math

import numpy as np

from relo_jax.eval.bootstrap import crossed_interval, draw

RESAMPLES = 10_000
SHARES = (0.9, 0.95, 0.99)  # of where the first arm ends, for `steps_to`


def summary(study, runs):
    """Everything that the tables show, as a JSON-able dict.

    Args:
      study: `studies.Study`.
      runs: arm -> list of `arm.Run`, one a seed; arms in the order of the study.

    Returns:
      dict with `evaluations` (title -> arm -> numbers), `curves` (arm -> a list a seed) and, for a study that asks for
      it, `steps_to` (share -> arm -> a number a seed, None where it never came so far).
    """
    first = study.arms[0]
    found = {"arms": list(study.arms), "evaluations": {}, "never_moves": {}}
    for title in runs[first][0].auc:
        found["evaluations"][title] = compare({arm: matrix(runs[arm], title) for arm in study.arms})
        found["never_moves"][title] = runs[first][0].still[title]
    found["curves"] = {arm: [run.curve for run in runs[arm]] for arm in study.arms}
    if study.steps_to:
        found["steps_to"] = steps_to(found["curves"], first)
    return found


def matrix(runs, title):
    """AUC of every seed on every sequence, float64 `[S, N]`."""
    names = sorted(runs[0].auc[title])
    return np.array([[run.auc[title][name] for name in names] for run in runs], np.float64)


def compare(values):
    """Arms on one set of sequences.

    Args:
      values: arm -> `[S, N]`; the first arm is what the others are compared with.

    Returns:
      arm -> dict of `auc`, `low`, `high` (the mean and its 95 % interval), `seeds` (the mean of each) and
      `sequences` (their number); for the others than the first also `difference`, with `low`, `high` and `seeds`.
    """
    first = next(iter(values.values()))
    drawn = draw(first.shape[0], RESAMPLES, seed=0), draw(first.shape[1], RESAMPLES, seed=1)

    def row(numbers, name):
        interval = crossed_interval(numbers, *drawn)
        seeds = numbers.mean(1).tolist()
        return {name: interval.difference, "low": interval.low, "high": interval.high, "seeds": seeds}

    found = {}
    for arm, numbers in values.items():
        found[arm] = row(numbers, "auc") | {"sequences": numbers.shape[1]}
        if numbers is not first:
            found[arm]["difference"] = row(numbers - first, "mean")
    return found


def steps_to(curves, first):
    """The first step at which each seed's held-out AUC reached a share of where the first arm ended with that seed."""
    ends = [curve[-1][2] for curve in curves[first]]
    reached = lambda curve, goal: next((step for step, _, auc in curve if auc >= goal), None)
    return {
        f"{share:g}": {
            arm: [reached(curve, share * end) for curve, end in zip(seeds, ends, strict=True)]
            for arm, seeds in curves.items()
        }
        for share in SHARES
    }


def table(name, study, found, scale):
    """All tables of a study with their notes, as Markdown."""
    lines = [f"# {name}", "", study.question, ""]
    for title, arms in found["evaluations"].items():
        lines += [*_auc_table(title, arms, found["never_moves"][title]), ""]
    if "steps_to" in found:
        lines += [*_steps_table(found["steps_to"], study.arms[0]), ""]
    return "\n".join(lines + _notes(next(iter(found["evaluations"].values())), scale))


def _auc_table(title, arms, still):
    first, (*_, last) = next(iter(arms)), arms.values()
    seeds = "".join(f" seed {seed} |" for seed in range(len(last["seeds"])))
    lines = [
        f"AUC on {last['sequences']} sequences ({title}); of a box that never moves: {still:.3f}", "",
        f"| arm | AUC | 95 % |{seeds} minus {first} | 95 % | seeds above |",
        "|---|---|---|" + "---|" * len(last["seeds"]) + "---|---|---|",
    ]  # fmt: skip
    for arm, row in arms.items():
        cells = [arm, f"{row['auc']:.3f}", _interval(row, ".3f"), *(f"{auc:.3f}" for auc in row["seeds"])]
        if "difference" in row:
            less = row["difference"]
            above = sum(seed > 0 for seed in less["seeds"])
            cells += [f"{less['mean']:+.3f}", _interval(less, "+.3f"), f"{above} of {len(less['seeds'])}"]
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _interval(row, form):
    return f"{row['low']:{form}} to {row['high']:{form}}"


def _steps_table(steps, first):
    lines = [f"Steps until the held-out AUC was a share of where {first} ended, by seed (-: never)", ""]
    lines += ["| arm |" + "".join(f" {share} |" for share in steps), "|---|" + "---|" * len(steps)]
    for arm in next(iter(steps.values())):
        cells = [", ".join("-" if step is None else str(step) for step in steps[share][arm]) for share in steps]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def _notes(arms, scale):
    """What a reader must know of the intervals, and of a study that was cut short."""
    count = len(next(iter(arms.values()))["seeds"])
    if count == 1:
        about = (
            "One seed: the intervals are those of other sequences of the same kind, and say nothing of how much "
            "another training would differ."
        )
    else:
        narrow = math.sqrt((count - 1) / count)
        about = (
            f"The intervals hold 95 % of {RESAMPLES:,} means over {count} seeds and all sequences drawn again. So few "
            f"seeds are less spread when drawn again than new trainings would be, by a factor of about {narrow:.2f}, "
            "and nobody knows the tails of so few: take a difference for one when its interval leaves out 0 and all "
            "seeds agree. Videos of another kind, other budgets and other sizes of the model are not covered."
        )
    notes = [about]
    if scale != 1:
        notes.append(f"All numbers of steps were multiplied by {scale:g}: this is not the study at its full length.")
    return [line for note in notes for line in (note, "")]
