"""The config of an evaluation (`relo eval`): its fields, and the checks of their values.

    relo eval --config configs/relo_b256.py:eval --checkpoint relo_b256.pth.tar --config.eval.datasets=lasot+nfs

It has no fields of training. A field that is None is open: checkpoint and dataset decide, see docs/evaluation.md.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_origin

from ml_collections import ConfigDict, config_dict

from relo_jax.config.fields import BENCHMARKS, base
from relo_jax.config.model_config import ModelConfig
from relo_jax.config.published import DATASETS, RESULTS
from relo_jax.config.validation import check_fields, replace_fields
from relo_jax.errors import UserError, did_you_mean

STAGE = "eval"
JAX = "jax"
BACKENDS = (JAX, "onnxruntime", "openvino")  # what computes; all but jax take exported graphs
# Fields of the network that only training reads.
_OF_TRAINING = ("drop_path", "layer_scale", "init_scheme", "remat", "remat_policy")
# Options of the tracker that change neither boxes nor scores.
_OF_NO_RESULT = ("found_threshold", "found_frames")


def evaluation(variant: str | None = None, checkpoint: str = "", datasets: str = "") -> ConfigDict:
    """Every field of an evaluation.

    Args:
      variant: that the checkpoint must have; None: any.
      checkpoint: default of `eval.checkpoint`; "": the user names one.
      datasets: default of `eval.datasets`; "": those of the paper's table for the variant.
    """
    config = ConfigDict()
    config.stage = STAGE
    config.eval = ConfigDict()
    config.eval.checkpoint = checkpoint  # run directory, its checkpoints/<step>, .pth.tar, or a starter
    # One or several: "lasot+nfs"; "got10k/val" names a split; "folder": a folder of sequences; "procedural"
    config.eval.datasets = datasets or "+".join(RESULTS.get(variant or "", DATASETS))
    config.eval.backend = JAX  # or onnxruntime, openvino: they compute the graphs of relo export
    config.eval.precision = config_dict.placeholder(str)  # of those graphs: float32, float16 or int8; open: float32
    config.eval.batch = 8  # sequences at a time; 32 or more on a GPU
    config.eval.rules = config_dict.placeholder(str)  # how frames without a target count; open: the dataset's
    config.eval.out = ""  # folder of the results; several datasets get a folder each in it; "": results/CHECKPOINT
    config.eval.release_files = False  # also write the files as the release does, into the folder "release"
    config.eval.count = config_dict.placeholder(int)  # of "procedural": number of sequences; open: 20
    config.eval.seed = config_dict.placeholder(int)  # of "procedural"; open: 0

    # The checkpoint's network: `dtype` replaces its dtype. The other fields replace nothing: they must be its own.
    config.model = ConfigDict({"variant": config_dict.placeholder(str)})
    config.model.variant = variant
    for field in dataclasses.fields(ModelConfig)[1:]:
        if field.name not in _OF_TRAINING:
            config.model[field.name] = config_dict.placeholder(get_origin(field.type) or field.type)

    config.data = ConfigDict()
    config.data.root = ""  # folder of the datasets, or of the one; "": RELO_DATA_DIR. Not of "procedural"
    config.data.one_based = False  # of "folder": boxes count pixels from 1 (OTB, UAV123)

    training = base()
    config.tracker = ConfigDict()  # the tracker's options on all datasets; open: see `benchmarks`
    for name in training.tracker:
        if name not in _OF_NO_RESULT:
            config.tracker[name] = config_dict.placeholder(training.tracker.get_type(name))
    config.benchmarks = training.benchmarks  # on single ones; open: the checkpoint's config, then as published
    return config


def validate_evaluation(config: ConfigDict) -> None:
    """Checks that a config has the fields of `evaluation()`, each with a value that makes sense.

    Raises:
      UserError: names the field, its value and what is allowed; for an unknown field the nearest known one.
    """
    if STAGE not in config:
        raise UserError(f"this is a config of stage {config.get('stage')!r}, for relo train: relo eval takes NAME:eval")
    check_fields(config, evaluation())
    if config.stage != STAGE:
        raise UserError(f"config.stage is {config.stage!r}: the config of an evaluation has {STAGE!r}")
    check_backend(config.eval.backend, config.eval.precision, config.model.dtype)
    names = list(datasets_of(config))
    for dataset, whole in names:
        _check_options(config, dataset)
        if names.count((dataset, whole)) > 1:
            raise UserError(f"config.eval.datasets is {config.eval.datasets!r}: {whole} is there twice")


def check_backend(backend: str, precision: str | None, dtype: str | None) -> None:
    """Raises UserError if a backend is not known, or takes the precision from elsewhere."""
    if backend not in BACKENDS:
        raise UserError(f"there is no backend {backend!r}{did_you_mean(backend, BACKENDS)}")
    if backend == JAX and precision is not None:
        raise UserError(f"precision {precision} is of exported graphs: name their backend too, or give a dtype to jax")
    if backend != JAX and dtype is not None:
        raise UserError(f"dtype {dtype} is for the backend jax: exported graphs compute in their precision")


def datasets_of(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """The datasets of an evaluation: each as its name, and its name with the split ("got10k/val") if there is one.

    Raises:
      UserError: a name that no dataset has.
    """
    known = ("folder", "procedural", *BENCHMARKS)
    for whole in config.eval.datasets.split("+"):
        dataset = whole.partition("/")[0]
        if dataset == "coco":
            raise UserError("coco has photographs, not videos: there is nothing to track in it")
        if dataset not in known:
            raise UserError(f"no dataset is called {dataset!r}{did_you_mean(dataset.lower(), known, cutoff=0.4)}")
        yield dataset, whole


def given_options(config: ConfigDict, dataset: str) -> dict[str, float]:
    """The tracker's options that the config sets for a dataset; the open ones are not in it."""
    sections = (config.tracker, config.benchmarks.get(dataset, {}))
    return {name: value for section in sections for name, value in section.items() if value is not None}


def evaluation_from_dict(values: Mapping, where: Path | str = "config") -> ConfigDict:
    """A config of an evaluation with the values of a nested dict, such as the `config.json` beside results.

    Raises:
      UserError: unknown field (names the nearest), or a bad value.
    """
    config = evaluation()
    replace_fields(config, values, where)
    return config


def _check_options(config: ConfigDict, dataset: str) -> None:
    """Raises UserError if an option has one value for all datasets and another for this one."""
    for name, value in config.benchmarks.get(dataset, {}).items():
        everywhere = config.tracker[name]
        if None not in (value, everywhere) and value != everywhere:
            raise UserError(
                f"config.tracker.{name} is {everywhere:g} and config.benchmarks.{dataset}.{name} is {value:g}: "
                "leave one of them open (None)"
            )
