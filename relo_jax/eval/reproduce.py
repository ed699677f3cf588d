"""`relo reproduce`: a released checkpoint on every benchmark of the paper's table, measured beside published.

    relo reproduce --variant b256 --checkpoint relo_b256.pth.tar --data-root /data

Each dataset that is there is evaluated as `relo eval` does, with the published options, into the same folders; one that
is not there is named with the reason. What was finished before is not run again, so that the same command goes on after
an interruption. GOT-10k and TrackingNet are measured by their servers: here their boxes are made.
"""

import json
import math
import os
from pathlib import Path

from relo_jax.checkpoints import load as checkpoints
from relo_jax.checkpoints import model_card, provenance
from relo_jax.config import published
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.layout import ENVIRONMENT
from relo_jax.errors import UserError
from relo_jax.eval import runner
from relo_jax.eval.benchmarks import open_benchmark
from relo_jax.files import atomic_write

JSON_FILE, PAGE_FILE = "reproduce.json", "reproduce.md"
MEASURED, SERVER, ABSENT, FAILED = "measured", "server", "absent", "failed"


def reproduce(variant, checkpoint, data_root=None, *, out=None, batch=8, datasets=(), dtype=None):
    """Evaluates on all datasets that are there, prints the table, and writes it as JSON and Markdown.

    Args:
      variant: of the published row: "t256", "b256" or "l256".
      checkpoint: see `relo_jax.checkpoint.load`; of that variant.
      data_root: folder of the datasets; None takes the environment's RELO_DATA_DIR.
      out: folder of the results, one folder a dataset; None takes `results/<checkpoint>`, as `relo eval` does.
      batch: sequences at a time.
      datasets: names of those to run; () is all of the paper's table.
      dtype: what to compute in, see `relo_jax.checkpoint.load`.

    Raises:
      UserError: a variant without published results, or a checkpoint of another; none of the datasets is there; and at
        the end, when sequences failed.
    """
    expected, root = _expected(variant, datasets), data_root or os.environ.get(ENVIRONMENT)
    if not root:
        raise UserError(f"where are the datasets? Give --data-root, or set {ENVIRONMENT} to the folder they are in")
    loaded = checkpoints.load_tracker(checkpoint, dtype)
    if loaded.model.config.variant != variant:
        raise UserError(
            f"{checkpoint} is of variant {loaded.model.config.variant}, not {variant}: compare it with its own row"
        )
    name, card = runner.checkpoint_name(checkpoint), model_card.of_checkpoint(checkpoint)
    out = Path(out) if out else Path("results") / name
    about, rows = {"checkpoint": card, "dtype": loaded.model.config.dtype}, {}
    for dataset in expected:
        try:
            benchmark = open_benchmark(dataset, root)
        except UserError as error:
            rows[dataset] = {"state": ABSENT, "published": expected[dataset], "reason": str(error)}
            continue
        print(f"\n{benchmark.title}: {len(benchmark)} sequences", flush=True)
        evaluation = runner.evaluate(benchmark, loaded, out / dataset, batch=batch, name=name, card=card)
        rows[dataset] = _row(evaluation, expected[dataset], out / dataset)
        _write(out, variant, about, rows)
    if all(row["state"] == ABSENT for row in rows.values()):
        print(table(variant, rows))
        raise UserError(f"none of these datasets is below {root}: {', '.join(rows)}")
    _write(out, variant, about, rows)
    print(f"\n{table(variant, rows)}\nwritten to {out}: {JSON_FILE}, {PAGE_FILE}, a folder of results a dataset")
    failed = {name: row["failed"] for name, row in rows.items() if row.get("failed")}
    if failed:
        named = ", ".join(f"{count} of {layouts.dataset_layout(name).title}" for name, count in failed.items())
        raise UserError(f"sequences failed ({named}): the summary.json of each dataset says why")


def table(variant, rows):
    """The rows as text for a terminal."""
    form = "{:<14}{:>10}{:>10}{:>12}{:>10}  {}"
    head = ("published", "measured", "difference", "frames/s", "sequences")
    lines = [form.format(f"RELO-{variant.upper()}", *head)]
    lines += [form.format(layouts.dataset_layout(name).title, *_cells(row), _remark(row)) for name, row in rows.items()]
    return "\n".join(lines)


def markdown(variant, card, dtype, rows):
    """The rows as a page."""
    digest = f" (SHA-256 `{card['sha256']}`)" if "sha256" in card else ""
    lines = [
        f"# RELO-{variant.upper()}: measured beside published", "",
        f"Checkpoint `{card['name']}`{digest}, computed in {dtype}. AUC in per cent, of GOT-10k AO; the "
        "published numbers are those of the paper's tables. The tracker's options are those published for each "
        "dataset (`summary.json` there has them).",
        "", "| dataset | published | measured | difference | frames/s | sequences |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in rows.items():
        lines.append(f"| {' | '.join([layouts.dataset_layout(name).title, *_cells(row), _remark(row)])} |")
    return "\n".join(lines) + "\n"


def _expected(variant, datasets):
    """Published results of the datasets asked for, in the order of the paper's table. Raises UserError."""
    if variant not in published.RESULTS:
        raise UserError(f"variant {variant!r} has no published results: {', '.join(published.RESULTS)} have")
    rows = published.RESULTS[variant]
    unknown = [name for name in datasets if name not in rows]
    if unknown:
        raise UserError(f"{variant} has no published result on {unknown[0]}: it has them on {', '.join(rows)}")
    return {name: value for name, value in rows.items() if not datasets or name in datasets}


def _row(evaluation, expected, folder):
    """What is said of one dataset, JSON-able; `expected` is the published number."""
    benchmark = evaluation.benchmark
    row = {
        "published": expected, "evaluated": len(evaluation.boxes), "published_sequences": benchmark.published,
        "failed": len(evaluation.failed), "missing": benchmark.missing, "results": str(folder),
        "frames_per_second": None if math.isnan(speed := evaluation.frames_per_second) else speed,
    }  # fmt: skip
    if benchmark.server or not evaluation.curves:
        return {"state": SERVER if benchmark.server else FAILED, **row}
    column = next(iter(benchmark.columns))
    measured = 100 * evaluation.numbers()[column]
    return {"state": MEASURED, **row, "column": column, "measured": measured, "difference": measured - expected}


def _cells(row):
    """Published, measured, their difference (in brackets: of a part of the dataset) and frames a second, as text."""
    measured = f"{row['measured']:.1f}" if "measured" in row else "-"
    difference = f"{row['difference']:+.1f}" if "measured" in row else "-"
    if "measured" in row and row["evaluated"] != row["published_sequences"]:
        difference = f"({difference})"
    speed = row.get("frames_per_second")
    return f"{row['published']:.1f}", measured, difference, "-" if speed is None else f"{speed:.1f}"


def _remark(row):
    """How much of the dataset that is, and what is not to be had here."""
    if row["state"] == ABSENT:
        return f"not here: {row['reason']}"
    total = row["published_sequences"]
    of = f"all {total}" if row["evaluated"] == total else f"{row['evaluated']} of {total}"
    failed = f", {row['failed']} failed" if row["failed"] else ""
    server = f"; measured by its server: relo pack {Path(row['results']).name}" if row["state"] == SERVER else ""
    return f"{of}{failed}{server}"


def _write(out, variant, about, rows):
    """Writes the JSON and the page; about says what was evaluated: checkpoint and dtype. Raises UserError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from None
    found = {"variant": variant, **about, "session": provenance.session(), "datasets": rows}
    with atomic_write(out / JSON_FILE) as file:
        file.write_text(json.dumps(found, indent=2) + "\n")
    with atomic_write(out / PAGE_FILE) as file:
        file.write_text(markdown(variant, about["checkpoint"], about["dtype"], rows))
