"""`relo reproduce`: evaluates a released checkpoint on the benchmarks of the paper's table, beside published results.

    relo reproduce --variant b256 --checkpoint relo_b256.pth.tar --data-root /data

Each dataset that is there is evaluated as by `relo eval`, with the published options and into the same folders; a
missing one is named with the reason. `relo eval --config OUT/DATASET/config.json` repeats one. Published numbers are
those of whole-number boxes, so these are measured first ("as published"), and float boxes beside them. Finished
sequences are not run again, so that the same command continues after an interruption. For GOT-10k and TrackingNet,
which their servers measure, it produces the boxes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection
from pathlib import Path

from relo_jax import tables
from relo_jax.checkpoints import load as checkpoints
from relo_jax.checkpoints import model_card, provenance
from relo_jax.checkpoints.load import Loaded
from relo_jax.config import evaluation, published
from relo_jax.data.datasets import layouts
from relo_jax.data.datasets.layout import ENVIRONMENT
from relo_jax.errors import UserError, did_you_mean
from relo_jax.eval import by_config, runner, standing
from relo_jax.eval.benchmarks import Benchmark, open_benchmark
from relo_jax.eval.evaluation import Evaluation
from relo_jax.files import atomic_write, make_folder

JSON_FILE, PAGE_FILE = "reproduce.json", "reproduce.md"
MEASURED, SERVER, ABSENT, FAILED = "measured", "server", "absent", "failed"
_HEADS = ("paper", "as published", "difference", "float boxes", "frames/s", "sequences")
_BOXES = (
    "As published: measured on boxes truncated to whole numbers, as the release writes its result files and measures "
    "them; the difference is from this column. Float boxes: the same boxes with their fractions."
)


def reproduce(
    variant: str,
    checkpoint: str | Path,
    data_root: str | Path | None = None,
    *,
    out: str | Path | None = None,
    batch: int = 8,
    datasets: Collection[str] = (),
    dtype: str | None = None,
) -> None:
    """Evaluates on all datasets that are there, prints the table, and writes it as JSON and Markdown.

    Args:
      variant: of the published row: "t256", "b256" or "l256".
      checkpoint: of that variant, see `relo_jax.checkpoint.load`.
      data_root: folder of the datasets; None takes RELO_DATA_DIR from the environment.
      out: folder of the results, one folder for each dataset; None takes `results/<checkpoint>`, as `relo eval` does.
      batch: sequences at a time.
      datasets: names of those to run; () takes all of the paper's table.
      dtype: of the computation, see `relo_jax.checkpoint.load`.

    Raises:
      UserError: a variant without published results, or a checkpoint of another variant; none of the datasets is
        there; at the end, if sequences failed or are broken.
    """
    expected, root = _expected(variant, datasets), data_root or os.environ.get(ENVIRONMENT)
    if not root:
        raise UserError(f"no folder of datasets: give --data-root, or set {ENVIRONMENT}")
    loaded = checkpoints.load_tracker(checkpoint, dtype)
    if loaded.model.config.variant != variant:
        raise UserError(
            f"{checkpoint} is of variant {loaded.model.config.variant}, not {variant}: compare it with its own row"
        )
    name, card = runner.checkpoint_name(checkpoint), model_card.of_checkpoint(checkpoint)
    out = Path(out) if out else Path("results") / name
    about = {"checkpoint": card, "dtype": loaded.model.config.dtype}
    rows: dict[str, dict] = {}
    for dataset in expected:
        try:
            benchmark = open_benchmark(dataset, root)
        except UserError as error:
            rows[dataset] = {"state": ABSENT, "published": expected[dataset], "reason": str(error)}
            continue
        print(f"\n{benchmark.title}: {tables.counted(len(benchmark), 'sequence')}", flush=True)
        config = _config(benchmark, loaded, checkpoint, root, batch, out / dataset)
        evaluated = runner.evaluate(benchmark, loaded, out / dataset, batch=batch, name=name, card=card, config=config)
        rows[dataset] = _row(evaluated, expected[dataset], out / dataset)
        _write(out, variant, about, rows)
    if all(row["state"] == ABSENT for row in rows.values()):
        print(table(variant, rows))
        raise UserError(f"{root} has none of these datasets: {', '.join(rows)}")
    _write(out, variant, about, rows)
    print(f"\n{table(variant, rows)}\n")
    if whole := _of_whole_datasets(rows):
        print(f"{standing.text(_measured_name(variant), whole)}\n")
    print(f"written to {out}: {JSON_FILE}, {PAGE_FILE}, a folder of results for each dataset")
    _check_complete(rows)


def _check_complete(rows: dict[str, dict]) -> None:
    """Raises UserError if sequences failed or are broken."""
    lost = {name: row["failed"] + row["broken"] for name, row in rows.items() if row["state"] != ABSENT}
    if any(lost.values()):
        named = ", ".join(f"{count} of {layouts.dataset_layout(name).title}" for name, count in lost.items() if count)
        raise UserError(
            f"sequences failed or could not be opened ({named}): the summary.json of each dataset has the reasons"
        )


def table(variant: str, rows: dict[str, dict]) -> str:
    """The rows as text for a terminal."""
    return f"{tables.terminal([[f'RELO-{variant.upper()}', *_HEADS], *_rows(rows)], 'lrrrrrl')}\n{_BOXES}"


def markdown(variant: str, card: dict, dtype: str, rows: dict[str, dict]) -> str:
    """The rows as a Markdown page."""
    digest = f" (SHA-256 `{card['sha256']}`)" if "sha256" in card else ""
    lines = [
        f"# RELO-{variant.upper()}: measured beside published", "",
        f"Checkpoint `{card['name']}`{digest}, computed in {dtype}. AUC in per cent, for GOT-10k AO. The "
        "published numbers are those of the paper's tables, the tracker's options those that the authors published "
        "for each dataset (see its `summary.json`).", "", _BOXES,
        "", tables.markdown(["dataset", *_HEADS], _rows(rows)),
    ]  # fmt: skip
    whole = _of_whole_datasets(rows)
    lines += ["", f"## {standing.HEADING}"] if whole else []
    for name, numbers in whole.items():
        lines += ["", standing.markdown(name, _measured_name(variant), numbers)]
    return "\n".join(lines) + "\n"


def _expected(variant: str, datasets: Collection[str]) -> dict[str, float]:
    """The published results on the chosen datasets, in the order of the paper's table. Raises UserError."""
    if variant not in published.RESULTS:
        raise UserError(f"no results are published for variant {variant!r}{did_you_mean(variant, published.RESULTS)}")
    rows = published.RESULTS[variant]
    for name in datasets:
        if name not in rows:
            raise UserError(f"no result of {variant} is published for {name!r}{did_you_mean(name, rows)}")
    return {name: value for name, value in rows.items() if not datasets or name in datasets}


def _config(
    benchmark: Benchmark, loaded: Loaded, checkpoint: str | Path, root: str | Path, batch: int, folder: Path
) -> dict:
    """The config with which `relo eval` gives the same results."""
    name = benchmark.name
    assert name is not None
    config = evaluation(checkpoint=str(checkpoint), datasets=name)
    config.eval.batch, config.eval.out, config.data.root = batch, str(folder), str(root)
    options, _ = runner.chosen_options(loaded, benchmark)
    return by_config.of_dataset(config, by_config.Dataset(name, name, benchmark), loaded, options, folder)


def _row(evaluation: Evaluation, expected: float, folder: Path) -> dict:
    """The row of one dataset, JSON-able; `expected` is the published number."""
    benchmark = evaluation.benchmark
    row = {
        "published": expected, "evaluated": len(evaluation.boxes), "published_sequences": benchmark.published,
        "failed": len(evaluation.failed), "broken": benchmark.broken, "missing": benchmark.missing,
        "results": str(folder),
        "frames_per_second": None if math.isnan(speed := evaluation.frames_per_second) else speed,
    }  # fmt: skip
    if benchmark.server or not evaluation.curves:
        return {"state": SERVER if benchmark.server else FAILED, **row}
    column = next(iter(benchmark.columns))
    whole, floats = (results.mean_numbers() for results in (evaluation.published, evaluation.tracker))
    numbers = {name: 100 * whole[name] for name in benchmark.columns}
    row |= {"column": column, "measured": numbers[column], "difference": numbers[column] - expected}
    return {"state": MEASURED, **row, "float_boxes": 100 * floats[column], "numbers": numbers}


def _of_whole_datasets(rows: dict[str, dict]) -> dict[str, dict[str, float]]:
    """The measured numbers of each dataset that was evaluated as a whole; only these compare with other trackers'."""
    whole = {name: row for name, row in rows.items() if row.get("evaluated") == row.get("published_sequences")}
    return {name: row["numbers"] for name, row in whole.items() if "numbers" in row}


def _measured_name(variant: str) -> str:
    return f"RELO-{variant.upper()}, measured"


def _rows(rows: dict[str, dict]) -> list[list[str]]:
    """The cells of the table, without its headings."""
    return [[layouts.dataset_layout(name).title, *_cells(row), _remark(row)] for name, row in rows.items()]


def _cells(row: dict) -> tuple[str, str, str, str, str]:
    """As text: the paper's number; that of whole-number boxes; their difference, in brackets if over a part of the
    dataset; that of float boxes; frames/s."""
    measured, of_floats = (f"{row[key]:.1f}" if "measured" in row else "-" for key in ("measured", "float_boxes"))
    difference = f"{row['difference']:+.1f}" if "measured" in row else "-"
    if "measured" in row and row["evaluated"] != row["published_sequences"]:
        difference = f"({difference})"
    speed = row.get("frames_per_second")
    return f"{row['published']:.1f}", measured, difference, of_floats, "-" if speed is None else f"{speed:.1f}"


def _remark(row: dict) -> str:
    """How much of the dataset was evaluated, and what is missing."""
    if row["state"] == ABSENT:
        return f"not here: {row['reason']}"
    total = row["published_sequences"]
    of = f"all {total}" if row["evaluated"] == total else f"{row['evaluated']} of {total}"
    failed = f", {row['failed']} failed" if row["failed"] else ""
    server = f"; measured by its server: relo pack {Path(row['results']).name}" if row["state"] == SERVER else ""
    return f"{of}{failed}{server}"


def _write(out: Path, variant: str, about: dict, rows: dict[str, dict]) -> None:
    """Writes the JSON and the page; `about` has the checkpoint's card and the dtype. Raises UserError."""
    make_folder(out)
    content = {"variant": variant, **about, "boxes": _BOXES, "session": provenance.session(), "datasets": rows}
    with atomic_write(out / JSON_FILE) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")
    with atomic_write(out / PAGE_FILE) as file:
        file.write_text(markdown(variant, about["checkpoint"], about["dtype"], rows))
