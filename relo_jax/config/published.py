"""What the authors published with their checkpoints: tracker options and results, by variant and dataset.

The options are those of the release's configs, the results those of the paper's tables (arXiv 2605.07379). `relo eval`
uses the options, see `tracker_options`; `relo reproduce` prints measured numbers beside the results.
"""

from collections.abc import Mapping

from relo_jax.errors import UserError

TrackerOptions = dict[str, float]  # window_power, update_interval, update_threshold

# Power k of the Hann window. The release's defaults for other datasets are in checkpoints/load.py.
WINDOW_POWER = {
    "t256": {"lasot": 2.2, "lasot_ext": 1.7, "trackingnet": 2.0, "got10k": 3.2},
    "b256": {
        "lasot": 3.0, "lasot_ext": 3.0, "trackingnet": 2.0, "got10k": 2.1, "tnl2k": 1.8, "nfs": 2.9, "uav123": 1.0,
    },
    "l256": {
        "lasot": 2.9, "lasot_ext": 2.7, "trackingnet": 2.0, "got10k": 2.7, "tnl2k": 3.2, "nfs": 3.2, "uav123": 3.8,
    },
}  # fmt: skip

# Template updates: (frames between two, smallest response). On all other datasets they are off.
UPDATES = {
    "b256": {"trackingnet": (25, 25.0), "got10k": (3, 25.0)},
    "l256": {"trackingnet": (25, 20.0), "got10k": (3, 46.0)},
}

# AUC in per cent; for GOT-10k AO on its test split.
RESULTS = {
    "t256": {"lasot": 70.4, "lasot_ext": 51.1, "trackingnet": 83.6, "got10k": 75.6},
    "b256": {
        "lasot": 73.3, "lasot_ext": 54.2, "trackingnet": 86.4, "got10k": 80.5, "tnl2k": 60.9, "nfs": 70.0,
        "uav123": 70.4,
    },
    "l256": {
        "lasot": 75.1, "lasot_ext": 57.5, "trackingnet": 87.3, "got10k": 81.8, "tnl2k": 63.6, "nfs": 71.3,
        "uav123": 71.4,
    },
}  # fmt: skip
FRAMES_PER_SECOND = {"t256": 91, "b256": 50, "l256": 32}  # on an RTX 4090
DATASETS = tuple(RESULTS["b256"])  # in the order of the paper's table


def options(variant: str, dataset: str) -> TrackerOptions:
    """The published tracker options of a variant on a dataset; empty where the authors have no row."""
    power = WINDOW_POWER.get(variant, {}).get(dataset)
    if power is None:
        return {}
    interval, threshold = UPDATES.get(variant, {}).get(dataset, (0, 0.0))
    row = {"window_power": power, "update_interval": interval}
    return row | {"update_threshold": threshold} if interval else row


def tracker_options(
    config: Mapping, variant: str, dataset: str | None, given: Mapping[str, float] | None = None, templates: int = 2
) -> tuple[TrackerOptions, dict[str, str]]:
    """The options to evaluate with, and the origin of each.

    Options given by hand come first, then those of the run's config for this dataset (`config.benchmarks`), then the
    authors' row for this variant and dataset, then the checkpoint's own section "tracker".

    Args:
      config: a checkpoint's config, nested dicts.
      variant: name of the model's variant.
      dataset: its name; None for sequences of no dataset.
      given: options given by hand.
      templates: slots of the model; template updates need two.

    Returns:
      (option -> value, option -> origin).

    Raises:
      UserError: the section "benchmarks" of the config is damaged.
    """
    row = options(variant, dataset) if dataset else {}
    if templates < 2 and row:
        row = {"window_power": row["window_power"], "update_interval": 0}
    layers = {
        "checkpoint": config.get("tracker", {}),
        f"published for {variant} on {dataset}": row,
        f"config.benchmarks.{dataset}": _of_config(config, dataset),
        "given": given or {},
    }
    values, source = {}, {}
    for where, layer in layers.items():
        values.update(layer)
        source.update(dict.fromkeys(layer, where))
    return values, source


def describe(values: Mapping[str, float], source: Mapping[str, str]) -> str:
    """The options that decide the boxes, in one line: `window_power 3, update_interval 0 (published for ...)`."""
    names = [name for name in ("window_power", "update_interval", "update_threshold") if name in source]
    if not values.get("update_interval"):
        names = [name for name in names if name != "update_threshold"]
    parts = []
    for where in dict.fromkeys(source[name] for name in names):
        parts.append(f"{', '.join(f'{n} {values[n]:g}' for n in names if source[n] == where)} ({where})")
    return "; ".join(parts) or "the tracker's defaults"


def _of_config(config: Mapping, dataset: str | None) -> TrackerOptions:
    """The options that a run's config sets for a dataset; open fields are None there."""
    section = config.get("benchmarks", {})
    if not isinstance(section, dict) or not isinstance(section.get(dataset, {}), dict):
        raise UserError("the checkpoint's config.json: its section 'benchmarks' has no sections of datasets")
    return {name: value for name, value in section.get(dataset, {}).items() if value is not None}
