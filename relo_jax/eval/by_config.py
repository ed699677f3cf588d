"""Evaluates by a config: one dataset or several, one after the other, each with the config beside its results.

    config = relo_jax.config.evaluation("b256", checkpoint="relo_b256.pth.tar", datasets="lasot+nfs")
    evaluate_by_config(config)

A dataset that is not there, or cannot be evaluated, does not stop the others. It is named at once and at the end.
"""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from relo_jax import tables
from relo_jax.checkpoints import load as checkpoints
from relo_jax.checkpoints import model_card
from relo_jax.checkpoints.load import Loaded
from relo_jax.config import published, to_dict
from relo_jax.config.evaluation import JAX, datasets_of, given_options, validate_evaluation
from relo_jax.config.model_config import ModelConfig
from relo_jax.data.datasets.layout import ENVIRONMENT
from relo_jax.errors import UserError
from relo_jax.eval import runner
from relo_jax.eval.benchmarks import Benchmark, open_benchmark
from relo_jax.eval.evaluation import Evaluation
from relo_jax.eval.report import plots
from relo_jax.eval.results.write import write_release_files
from relo_jax.export.backend import Exported
from relo_jax.files import make_folder
from relo_jax.model import RELO, VARIANTS


@dataclass
class Dataset:
    """A dataset of an evaluation: its name, the name with its split as in the config, and what came out."""

    name: str
    whole_name: str
    benchmark: Benchmark | None = None  # None: it is not there
    evaluation: Evaluation | None = None
    reason: str = ""  # why it is not evaluated, or only in part


def evaluate_by_config(config: ConfigDict) -> None:
    """Evaluates on every dataset of a config and prints tables and the names of files.

    Args:
      config: see `relo_jax.config.evaluation`.

    Raises:
      UserError: a bad config; a checkpoint of another network than the config's; no dataset is there; at the end, if a
        dataset could not be evaluated, or sequences failed or are broken.
    """
    validate_evaluation(config)
    if not config.eval.checkpoint:
        raise UserError("no checkpoint to evaluate: name one with --checkpoint or config.eval.checkpoint")
    datasets = _opened(config)
    loaded = _loaded(config)
    check_network(config, loaded)
    card = loaded.card() if isinstance(loaded, Exported) else model_card.of_checkpoint(config.eval.checkpoint)
    folders = _folders(config, datasets)
    if len(datasets) > 1:
        _write_config(_common_folder(config), resolved(config, loaded.model.config))
    for dataset in datasets:
        if dataset.benchmark is None:
            continue
        if len(datasets) > 1:
            print()
        try:
            _evaluate(config, dataset, loaded, card, folders[dataset.whole_name])
        except UserError as error:
            if len(datasets) == 1:
                raise
            dataset.reason = str(error)
            print(f"{dataset.whole_name}: {error}", file=sys.stderr)
    if len(datasets) > 1:
        print(f"\n{overview(datasets)}")
    _raise_if_incomplete(datasets)


def _loaded(config: ConfigDict) -> Loaded | Exported:
    """The checkpoint, for the backend of the config. Raises UserError."""
    if config.eval.backend == JAX:
        return checkpoints.load_tracker(config.eval.checkpoint, config.model.dtype)
    return Exported(config.eval.checkpoint, config.eval.backend, config.eval.precision or "float32")


def resolved(config: ConfigDict, network: ModelConfig | None = None) -> dict:
    """The config as JSON has it, with the network's fields and the data root of the environment in open places.

    Args:
      config: see `relo_jax.config.evaluation`.
      network: of the checkpoint; None takes the variant's, as far as the config names one.

    Raises:
      UserError: an unknown variant, or a value of which no network can be built.
    """
    values = to_dict(config)
    section = values["model"]
    if network is None and section["variant"] is not None:
        network = RELO.from_config(section).config
    known = network.to_dict() if network else {}
    if config.eval.backend != JAX:
        known.pop("dtype", None)  # exported graphs have a precision instead
    values["model"] = {name: known.get(name) if value is None else value for name, value in section.items()}
    if any(name != "procedural" for name, _ in datasets_of(config)):
        values["data"]["root"] = values["data"]["root"] or os.environ.get(ENVIRONMENT, "")
    return values


def check_network(config: ConfigDict, loaded: Loaded | Exported) -> None:
    """Raises UserError if a checkpoint's network differs from the config's section "model", its dtype aside."""
    checkpoint, section, found = config.eval.checkpoint, config.model, loaded.model.config.to_dict()
    if section.variant is not None and section.variant != found["variant"]:
        raise UserError(
            f"{checkpoint} is of variant {found['variant']!r}, and config.model.variant is {section.variant!r}: "
            "evaluate it with the config of its variant"
        )
    row = VARIANTS.get(section.variant or "", {})
    differing = {}
    for name in section:
        value = row.get(name) if section[name] is None else section[name]
        value = list(value) if isinstance(value, tuple) else value
        if name not in ("variant", "dtype") and value is not None and value != found[name]:
            differing[name] = f"{name} {found[name]} (config: {value})"
    if differing:
        values = {name: f"'{tuple(v)}'" if isinstance(v := found[name], list) else v for name in differing}
        flags = " ".join(f"--config.model.{name}={value}" for name, value in values.items())
        raise UserError(
            f"{checkpoint} has another network than the config{f' of {section.variant}' if row else ''}: "
            f"{', '.join(differing.values())}; if you mean this checkpoint, set {flags}"
        )


def overview(datasets: list[Dataset]) -> str:
    """A line for each dataset: how many of its sequences are evaluated, frames/s, and the mean numbers."""
    rows = [("dataset", "sequences", "frames/s", "")]
    for dataset in datasets:
        evaluation = dataset.evaluation
        if evaluation is None:
            rows.append((dataset.whole_name, "-", "-", f"not evaluated: {dataset.reason}"))
            continue
        benchmark, numbers = evaluation.benchmark, "nothing measured: all sequences failed"
        if evaluation.curves:
            means, whole = evaluation.tracker.mean_numbers(), evaluation.published.mean_numbers()
            numbers = "  ".join(f"{heading} {means[name]:.3f}" for name, heading in benchmark.columns.items())
            name, heading = next(iter(benchmark.columns.items()))
            numbers += f"  (as published: {heading} {whole[name]:.3f})"
        elif benchmark.server:
            numbers = f"only its server measures: relo pack {dataset.name}"
        count = f"{len(evaluation.boxes)} of {benchmark.published or len(benchmark)}"
        speed = evaluation.frames_per_second
        rows.append((benchmark.title, count, "-" if math.isnan(speed) else f"{speed:.1f}", numbers))
    return tables.terminal(rows, "lrrl")


def of_dataset(config: ConfigDict, dataset: Dataset, loaded: Loaded | Exported, options: dict, folder: Path) -> dict:
    """The config with which one dataset is evaluated, as it is saved beside the results: with all its options in place.

    Options that differ between datasets go to the section of this one in `benchmarks`, so that another dataset can
    still be evaluated with the same file.

    Args:
      config: of the evaluation.
      dataset: opened.
      loaded: the checkpoint.
      options: all options of the tracker on the dataset.
      folder: of the results.
    """
    values, benchmark = resolved(config, loaded.model.config), dataset.benchmark
    assert benchmark is not None
    own = {name: values["benchmarks"][name] for name in values["benchmarks"] if name == dataset.name}
    for section in values["benchmarks"].values():
        section |= dict.fromkeys(section)
    for name, value in options.items():
        section = own[dataset.name] if name in own.get(dataset.name, {}) else values["tracker"]
        if name in section:  # not those of `found`
            section[name] = value
    values["eval"] |= {"datasets": dataset.whole_name, "out": str(folder) if config.eval.out else ""}
    if dataset.name == "procedural":
        values["eval"] |= {"count": len(benchmark), "seed": config.eval.seed or 0}
    return values


def _opened(config: ConfigDict) -> list[Dataset]:
    """The datasets, opened. Reports those that are not there; raises UserError if none is."""
    datasets = [Dataset(*names) for names in datasets_of(config)]
    names = {dataset.name for dataset in datasets}
    for dataset in datasets:
        root, one_based, count, seed = _settings(config, dataset.name, names)
        split = dataset.whole_name.partition("/")[2] or None
        try:
            dataset.benchmark = open_benchmark(dataset.name, root, split, one_based, count=count, seed=seed)
        except UserError as error:
            if len(datasets) == 1:
                raise
            dataset.reason = str(error)
            print(f"{dataset.whole_name}: {error}", file=sys.stderr)
    if all(dataset.benchmark is None for dataset in datasets):
        raise UserError(f"none of {config.eval.datasets} can be evaluated; {datasets[0].name}: {datasets[0].reason}")
    return datasets


def _settings(config: ConfigDict, name: str, names: set[str]) -> tuple[str | None, bool, int | None, int | None]:
    """Data root, one_based, count and seed for one of several datasets.

    A setting goes to the datasets that take it. If none does, all get it and refuse it.
    """
    root = None if name == "procedural" and len(names) > 1 else config.data.root or None
    one_based = config.data.one_based and (name == "folder" or "folder" not in names)
    is_drawn = name == "procedural" or "procedural" not in names
    return root, one_based, *((config.eval.count, config.eval.seed) if is_drawn else (None, None))


def _folders(config: ConfigDict, datasets: list[Dataset]) -> dict[str, Path]:
    """The folder of the results of each dataset that is there. Raises UserError if two would have the same."""
    folders: dict[str, Path] = {}
    for dataset in datasets:
        if dataset.benchmark is None:
            continue
        folder = _common_folder(config)
        if len(datasets) > 1 or not config.eval.out:
            folder = folder / runner.dataset_folder(dataset.benchmark, config.eval.seed)
        if folder in folders.values():
            raise UserError(
                f"the results of two datasets would be in {folder}: evaluate {dataset.whole_name} by itself"
            )
        folders[dataset.whole_name] = folder
    return folders


def _common_folder(config: ConfigDict) -> Path:
    """`eval.out`, or the folder of the checkpoint in `results`."""
    return (
        Path(config.eval.out) if config.eval.out else Path("results") / runner.checkpoint_name(config.eval.checkpoint)
    )


def _evaluate(config: ConfigDict, dataset: Dataset, loaded: Loaded | Exported, card: dict, folder: Path) -> None:
    """Evaluates on one dataset, and prints the table and the names of the files. Raises UserError."""
    benchmark, options = dataset.benchmark, given_options(config, dataset.name)
    assert benchmark is not None
    _check_same_dataset(folder, dataset)
    values, source = runner.chosen_options(loaded, benchmark, options)
    name = runner.checkpoint_name(config.eval.checkpoint)
    print(
        f"{benchmark.title}: {tables.counted(len(benchmark), 'sequence')}; {published.describe(values, source)}",
        flush=True,
    )
    evaluation = dataset.evaluation = runner.evaluate(
        benchmark, loaded, folder, batch=config.eval.batch, options=options, rules=config.eval.rules, name=name,
        card=card, config=of_dataset(config, dataset, loaded, values, folder),
    )  # fmt: skip
    print(evaluation.table())
    if not math.isnan(evaluation.frames_per_second):
        print(f"{evaluation.frames_per_second:.1f} frames/s, reading included")
    made = f"boxes, scores, {runner.SUMMARY_FILE}, {runner.CONFIG_FILE}, {model_card.CARD_FILE}"
    print(f"written to {folder}: {made}{'' if benchmark.server else ', ' + ', '.join(plots.FILES)}")
    if config.eval.release_files:
        print(f"written to {write_release_files(folder, evaluation.boxes, benchmark.name)}: boxes as the release's")
    if benchmark.server:
        pack = f"relo pack {dataset.name} {folder} --out {name}.zip"
        print(f"nothing is measured here: only a server has the boxes of {benchmark.title}. For its upload: {pack}")
    dataset.reason = _incomplete(evaluation)


def _incomplete(evaluation: Evaluation) -> str:
    """How many sequences are there but broken, and how many failed, with the first of each; "" if none is."""
    benchmark, parts = evaluation.benchmark, []
    if benchmark.broken:
        there = f"{benchmark.broken} of {len(benchmark) + benchmark.broken} sequences"
        parts.append(f"{there} could not be opened, the first: {next(iter(benchmark.reasons), 'unknown')}")
    if evaluation.failed:
        first, reason = next(iter(evaluation.failed.items()))
        parts.append(f"{len(evaluation.failed)} of {len(benchmark)} sequences failed, the first: {first}: {reason}")
    return "; ".join(parts)


def _check_same_dataset(folder: Path, dataset: Dataset) -> None:
    """Raises UserError if the folder has results on another dataset, as far as it says so."""
    try:
        before = json.loads((folder / runner.CONFIG_FILE).read_text())["eval"]["datasets"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # a new folder, or one that is older than these files
    benchmark = dataset.benchmark
    assert benchmark is not None
    names = {dataset.whole_name, f"{dataset.name}/{benchmark.split}"}
    if runner.dataset_folder(benchmark) == dataset.name:  # its split is the one that needs no name
        names.add(dataset.name)
    if before not in names:
        raise UserError(f"{folder} has results on {before}: name another folder for {dataset.whole_name} with --out")


def _write_config(folder: Path, values: dict) -> None:
    """Writes the config of several datasets into the folder of their folders. Raises UserError."""
    make_folder(folder)
    runner.write_config(folder, values)


def _raise_if_incomplete(datasets: list[Dataset]) -> None:
    """Raises UserError that names what could not be evaluated."""
    incomplete = [dataset for dataset in datasets if dataset.reason]
    if len(datasets) == 1 and incomplete:
        raise UserError(incomplete[0].reason)
    if incomplete:
        reasons = "; ".join(f"{dataset.whole_name}: {dataset.reason}" for dataset in incomplete)
        raise UserError(f"{len(incomplete)} of {len(datasets)} datasets are missing or incomplete: {reasons}")
