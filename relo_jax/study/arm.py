"""One arm with one seed: trains its stages, possibly together with those of others, and evaluates the last one.

The run directories are those of `relo train`, the result folders those of `relo eval`. Finished parts are not repeated,
and interrupted ones continue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.checkpoints.run_directory import METRICS_FILE, read_metrics
from relo_jax.errors import UserError
from relo_jax.eval import runner
from relo_jax.eval.benchmarks import Benchmark
from relo_jax.model import RELO
from relo_jax.study.studies import stages
from relo_jax.train.loop import train_to_end
from relo_jax.train.shared_encoder import shared

# The metric of the cell that the tracker would choose: the policy's best one, or the heat map's.
HELD_OUT_METRIC = {"rl": "greedy_auc", "warmup": "argmax_auc"}
EVALUATION = "evaluation"  # folder of results, with a folder for each set of sequences


@dataclass(frozen=True)
class Run:
    """The outcome of one training.

    auc: title of an evaluation -> sequence -> AUC. still: title -> mean AUC of a box that never moves. curve: of the
    last stage, (step, search frames through the encoder in all stages so far, held-out AUC).
    """

    auc: dict[str, dict[str, float]]
    still: dict[str, float]
    curve: list[tuple[int, int, float]]


def train(
    arm: str, seed: int, scale: float, workdir: Path | str, others: Sequence[tuple[str, int]] = ()
) -> set[tuple[str, int]]:
    """Trains the stages of an arm and seed that are not finished, each at once with those of others that can be.

    Args:
      arm, seed, scale: see `studies.stages`.
      workdir: of the studies; each arm and seed has the folder `arms/ARM/seed-K` in it.
      others: (arm, seed) of trainings that may be trained too, with the same scale.

    Returns:
      The (arm, seed) of all trainings that this finished.

    Raises:
      UserError: another config was trained there, or the training was stopped.
    """
    trained: set[tuple[str, int]] = set()
    for config, where in checked_stages(arm, seed, scale, workdir):
        if is_finished(config, where):
            continue
        group, same = {(arm, seed): (config, where)}, together(config, where)
        for key in others if same else ():
            stage = next_stage(*key, scale, workdir)
            if stage is not None and together(*stage) == same:
                group[key] = stage
        if others:
            print(_as_one_program(group) if len(group) > 1 else "trains alone", flush=True)
        train_to_end(*group.values())
        trained |= {key for key in group if next_stage(*key, scale, workdir) is None}
    return trained


def _as_one_program(group: Iterable[tuple[str, int]]) -> str:
    """A line that says which arms and seeds train together."""
    seeds: dict[str, list[str]] = {}
    for arm, seed in group:
        seeds.setdefault(arm, []).append(str(seed))
    return "trains as one program: " + ", ".join(f"{arm} (seed {', '.join(numbers)})" for arm, numbers in seeds.items())


def next_stage(arm: str, seed: int, scale: float, workdir: Path | str) -> tuple[ConfigDict, Path] | None:
    """Config and run directory of the first stage that is not finished; None if all are."""
    return next((stage for stage in checked_stages(arm, seed, scale, workdir) if not is_finished(*stage)), None)


def together(config: ConfigDict, where: Path) -> tuple | None:
    """What runs have in common that can train as one program; None if a run must train alone."""
    same, steps = shared(config), run_directory.steps_of(where)
    return same and (same, steps[-1] if steps else 0)


def evaluate(arm: str, seed: int, scale: float, benchmarks: Iterable[Benchmark], workdir: Path | str) -> Run:
    """Evaluates an arm and seed that are trained, or reads the results of an earlier session.

    Args:
      arm, seed, scale, workdir: as of `train`.
      benchmarks: to evaluate on.

    Raises:
      UserError: another config was trained there, or a sequence failed.
    """
    folder = folder_of(workdir, arm, seed)
    *earlier, (config, where) = checked_stages(arm, seed, scale, workdir)
    before = sum(one.total_steps * frames_a_step(one) for one, _ in earlier)
    metric, each = HELD_OUT_METRIC[config.stage], frames_a_step(config)
    curve = [(row["step"], before + row["step"] * each, row[metric]) for row in read_metrics(where, "eval")]
    auc, still = {}, {}
    loaded = checkpoint.load(where)
    for benchmark in benchmarks:
        title = benchmark.title
        card = model_card.of_checkpoint(where)
        evaluation = runner.evaluate(benchmark, loaded, folder / EVALUATION / title, name=arm, card=card)
        failed = evaluation.failed
        if failed:
            name, reason = next(iter(failed.items()))
            raise UserError(f"{len(failed)} of {len(benchmark)} sequences of {title} failed: {name}: {reason}")
        auc[title] = {name: curves.auc for name, curves in evaluation.curves.items()}
        still[title] = evaluation.still.mean.auc
    return Run(auc, still, curve)


def folder_of(workdir: Path | str, arm: str, seed: int) -> Path:
    """The folder of one training of an arm and its evaluation."""
    return Path(workdir) / "arms" / arm / f"seed-{seed}"


def is_evaluated(folder: Path, benchmarks: Iterable[Benchmark]) -> bool:
    """Whether an arm and seed is done."""
    return all((folder / EVALUATION / benchmark.title / runner.SUMMARY_FILE).is_file() for benchmark in benchmarks)


def frames_a_step(config: ConfigDict) -> int:
    """The number of search frames that go through the encoder in a step."""
    return config.batch_size * (config.rl.clip_length if config.stage == "rl" else config.warmup.search_frames)


def is_finished(config: ConfigDict, where: Path) -> bool:
    """Whether a run directory has the checkpoint of the last step and its evaluation on held-out clips, and no more
    checkpoints than it keeps."""
    last = where / run_directory.CHECKPOINTS / str(config.total_steps)
    if not (last.is_dir() and (where / METRICS_FILE).is_file()):
        return False
    if len(run_directory.steps_of(where)) > config.keep_checkpoints:  # killed while an old one was removed
        return False
    return any(row["step"] == config.total_steps for row in read_metrics(where, "eval"))


def checked_stages(arm: str, seed: int, scale: float, workdir: Path | str) -> list[tuple[ConfigDict, Path]]:
    """`studies.stages` of an arm and seed, after checking what was trained there before.

    Raises:
      UserError: a bad config, or a run directory has checkpoints of another config or from other weights.
    """
    folder = folder_of(workdir, arm, seed)
    to_train = stages(arm, seed, scale, folder)
    for config, where in to_train:
        relo_config.validate(config)
        # An unfinished save has a longer name.
        if any(path.name.isdigit() for path in (where / run_directory.CHECKPOINTS).glob("*")):
            _check_same_config(config, where, folder, config is to_train[0][0])
            _check_same_start(config, where, folder)
    return to_train


def began_with(arm: str, seed: int, workdir: Path | str) -> dict | None:
    """The checkpoint from which the first stage of a trained arm began, as by `model_card.of_checkpoint`; None if it
    began from random weights."""
    (_, where), *_ = stages(arm, seed, 1.0, folder_of(workdir, arm, seed))
    return model_card.read(where).get("parent")


def _check_same_config(config: ConfigDict, where: Path, folder: Path, is_first: bool) -> None:
    model = RELO.from_config(config.model)
    given = {**relo_config.to_dict(config), "model": model.config.to_dict()}
    _, step = run_directory.run_and_step(where)
    saved = run_directory.read_config(where)
    if not is_first:  # the stage before; the folder of both may have been moved
        saved = {**saved, "init_from": given["init_from"]}
    try:
        relo_config.check_same_run(saved, given, where / run_directory.CONFIG_FILE, step)
    except UserError as error:
        raise UserError(
            f"{error}; the study or --scale has changed since: remove {folder} to train it again, or give another "
            "--workdir"
        ) from error


def _check_same_start(config: ConfigDict, where: Path, folder: Path) -> None:
    """Refuses a run whose initial weights have changed since under the same name, such as the starter's."""
    before = (model_card.read(where).get("parent") or {}).get("sha256")
    now = model_card.of_checkpoint(config.init_from).get("sha256") if config.init_from else None
    if before and now and before != now:
        raise UserError(
            f"{where} began with other weights named {config.init_from} (SHA-256 {before[:12]}, now "
            f"{now[:12]}): remove {folder} to train it again, or give another --workdir"
        )
