"""How long the real thing takes on this machine, and how much disk, from the rates of a rehearsal.

The time of a stage is its clips divided by the measured clips per second, that of the evaluation its frames divided by
the frames per second. So the forecast assumes that a clip costs the same in the real batch as in the rehearsal's.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml_collections import ConfigDict

from relo_jax.data.datasets import split_lists

GB = 10**9
_UNKNOWN = "no source"


@dataclass(frozen=True)
class Size:
    """Size of something: a number, and where it is from."""

    amount: float
    source: str


def _uav123_frames() -> int:
    """Frames of the benchmark's own list of sequences."""
    rows = [line.split() for line in split_lists.official("uav123", "test.txt")]
    return sum(int(last) - int(first) + 1 for _, _, first, last in rows)


def benchmark_frames() -> dict[str, Size]:
    """Frames of the test splits."""
    return {
        "lasot": Size(690_000, "arXiv 1809.07845, 280 sequences"),
        "lasot_ext": Size(350_000, "arXiv 2009.03465, 3.87 M frames less the 3.52 M of LaSOT"),
        "trackingnet": Size(226_000, "arXiv 1803.10794, 511 sequences"),
        "got10k": Size(23_000, "arXiv 1810.11981, 180 sequences"),
        "tnl2k": Size(436_000, "arXiv 2103.16746, 700 of 2,000 sequences of 1,244,340 frames"),
        "nfs": Size(48_000, "arXiv 1703.05884, 383,000 frames at 240 a second, of which every eighth counts"),
        "uav123": Size(_uav123_frames(), "data/uav123/test.txt"),
    }


# On disk, unpacked. The splits that training and the paper's benchmarks need.
DATASET_BYTES = {
    "coco": Size(19.2 * GB, "cocodataset.org: train2017 18 GB, val2017 1 GB, annotations 241 MB"),
    "got10k": Size(68 * GB, "github.com/DeepInsight-PCALab/Dataset-Catalog- issue 53"),
    "lasot": Size(227 * GB, "github.com/DeepInsight-PCALab/Dataset-Catalog- issue 47"),
    "trackingnet": Size(1_235 * GB, "its authors, huggingface.co/datasets/SilvioGiancola/TrackingNet"),
    "vasttrack": Size(761 * GB, "its authors, github.com/HengLan/VastTrack issue 6"),
    "lasot_ext": Size(23 * GB, "estimate: LaSOT's bytes a frame"),
    "uav123": Size(13 * GB, "github.com/DeepRobot2020/MobileDet issue 3, from its authors' page"),
    "tnl2k": Size(0, _UNKNOWN),
    "nfs": Size(0, _UNKNOWN),
}


def forecast(
    configs: dict[str, ConfigDict], templates: int, rates: dict[str, float], checkpoints: dict[str, int]
) -> dict:
    """The forecast, JSON-able.

    Args:
      configs: the real config of each stage, "warmup" and "rl".
      templates: of a clip.
      rates: clips per second of "warmup", "rl" and "loader" (in clips of the warm-up), frames per second of
        "evaluation"; as far as known.
      checkpoints: bytes of one checkpoint of each stage; as far as known.
    """
    rows = [_stage(config, templates, configs["warmup"], rates) for config in configs.values()]
    frames = {name: vars(size) for name, size in benchmark_frames().items()}
    total = int(sum(row["amount"] for row in frames.values()))
    rows.append(
        {"what": "evaluation", "work": f"{len(frames)} benchmarks", "count": total, "unit": "frames",
         "per_second": rates.get("evaluation"), "limited": False}
    )  # fmt: skip
    for row in rows:
        row["seconds"] = row["count"] / row["per_second"] if row["per_second"] else None
    known = [row["seconds"] for row in rows if row["seconds"] is not None]
    return {
        "time": rows,
        "seconds": sum(known) if len(known) == len(rows) else None,
        "loader_clips_per_second": rates.get("loader"),
        "disk": _disk(configs, checkpoints),
        "benchmark_frames": frames,
        "datasets": {name: vars(size) for name, size in DATASET_BYTES.items()},
    }


def _stage(config: ConfigDict, templates: int, warmup: ConfigDict, rates: dict[str, float]) -> dict:
    """The row of a stage. It is as fast as its training steps or as its clips are read, whichever is slower."""
    trained, read = rates.get(config.stage), rates.get("loader")
    if read is not None:  # a clip costs the loader as much as it has frames
        read *= (templates + frames_of(warmup)) / (templates + frames_of(config))
    limited = trained is not None and read is not None and read < trained
    work = f"{config.total_steps:,} steps of {config.batch_size} clips of {frames_of(config)} frames"
    return {
        "what": TITLES[config.stage], "work": work, "count": config.total_steps * config.batch_size, "unit": "clips",
        "per_second": read if limited else trained, "limited": limited,
    }  # fmt: skip


TITLES = {"warmup": "warm-up", "rl": "RL stage"}


def frames_of(config: ConfigDict) -> int:
    """T, the search frames of a clip."""
    return config.warmup.search_frames if config.stage == "warmup" else config.rl.clip_length


def _disk(configs: dict[str, ConfigDict], checkpoints: dict[str, int]) -> list[dict]:
    """Rows of what needs disk, in bytes."""
    without = [name for name, size in DATASET_BYTES.items() if size.source == _UNKNOWN]
    total = int(sum(size.amount for size in DATASET_BYTES.values()))
    given = f"{len(DATASET_BYTES) - len(without)} of them, as their authors distribute them"
    why = f"{given}; without {' and '.join(without)}, whose size no source gives"
    rows = [{"what": "datasets", "bytes": total, "why": why}]
    training = sum(DATASET_BYTES[name].amount for name in ("coco", "got10k", "lasot", "trackingnet", "vasttrack"))
    why = "only if `relo data build` makes them of the training sets: about 1 % more than the images"
    rows.append({"what": "built records", "bytes": int(1.01 * training), "why": why})
    for stage, config in configs.items():
        if stage in checkpoints:
            kept, size = config.keep_checkpoints, checkpoints[stage]
            why = f"{kept} kept and one being written, of {size / GB:.2f} GB"
            rows.append({"what": f"checkpoints, {TITLES[stage]}", "bytes": (kept + 1) * size, "why": why})
    return rows


def duration(seconds: float | None) -> str:
    """`3.2 days`, in the largest unit of which there is one."""
    if seconds is None:
        return "-"
    for unit, length in (("years", 365 * 86_400), ("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length or unit == "minutes":
            return f"{seconds / length:,.1f} {unit}"
    raise AssertionError


def amount(size: int) -> str:
    """`1.2 TB`, `0.4 GB`."""
    return f"{size / 1e12:.2f} TB" if size >= 1e12 else f"{size / 1e9:.1f} GB"
