"""One arm with one seed: its stages trained, and the last one evaluated, each once.

Run directories are those of `relo train`, result folders those of `relo eval`: what is there is not done again, and
what was begun goes on.
"""

from dataclasses import dataclass
from pathlib import Path

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.checkpoints.run_directory import METRICS_FILE, read_metrics
from relo_jax.errors import UserError
from relo_jax.eval import runner
from relo_jax.model import RELO
from relo_jax.study.studies import stages
from relo_jax.train.loop import train_to_end

# What is held out is judged by what the tracker would do: the policy's best cell, or the heat map's.
HELD_OUT_METRIC = {"rl": "greedy_auc", "warmup": "argmax_auc"}
EVALUATION = "evaluation"  # folder of results, one folder a set of sequences


@dataclass(frozen=True)
class Run:
    """What one training came to.

    auc: title of an evaluation -> sequence -> AUC. still: title -> mean AUC of a box that never moves.
    curve: of the last stage, list of (step, search frames through the encoder in all stages so far, held-out AUC).
    """

    auc: dict
    still: dict
    curve: list


def run(arm, seed, scale, benchmarks, workdir):
    """Trains and evaluates, or reads what was trained and evaluated before.

    Args:
      arm, seed, scale: see `studies.stages`.
      benchmarks: `Benchmark`s to evaluate on.
      workdir: of the studies; this arm and seed have the folder `arms/ARM/seed-K` in it.

    Returns:
      Run.

    Raises:
      UserError: another config was trained there, the training was stopped, or a sequence failed.
    """
    folder, frames = folder_of(workdir, arm, seed), 0
    for config, where in checked_stages(arm, seed, scale, workdir):
        if not is_finished(config, where):
            train_to_end(config, where)
        before, frames = frames, frames + config.total_steps * frames_a_step(config)
    metric, each = HELD_OUT_METRIC[config.stage], frames_a_step(config)
    curve = [(row["step"], before + row["step"] * each, row[metric]) for row in read_metrics(where, "eval")]
    auc, still = {}, {}
    loaded = checkpoint.load(where)
    for benchmark in benchmarks:
        title = benchmark.title
        found = runner.evaluate(
            benchmark, loaded, folder / EVALUATION / title, name=arm, card=model_card.of_checkpoint(where)
        )
        if found.failed:
            name, reason = next(iter(found.failed.items()))
            raise UserError(f"{len(found.failed)} of {len(benchmark)} sequences of {title} failed: {name}: {reason}")
        auc[title] = {name: curves.auc for name, curves in found.curves.items()}
        still[title] = found.still_mean.auc
    return Run(auc, still, curve)


def folder_of(workdir, arm, seed):
    """Where one training of an arm is, with what its evaluation left."""
    return Path(workdir) / "arms" / arm / f"seed-{seed}"


def is_evaluated(folder, benchmarks):
    """Whether nothing is left to do for an arm and seed."""
    return all((folder / EVALUATION / benchmark.title / runner.SUMMARY_FILE).is_file() for benchmark in benchmarks)


def frames_a_step(config):
    """Search frames that go through the encoder in a step."""
    return config.batch_size * (config.rl.clip_length if config.stage == "rl" else config.warmup.search_frames)


def is_finished(config, where):
    """Whether a run directory has the checkpoint of the last step, and the last look at held-out clips."""
    if not (
        (where / run_directory.CHECKPOINTS / str(config.total_steps)).is_dir() and (where / METRICS_FILE).is_file()
    ):
        return False
    return any(row["step"] == config.total_steps for row in read_metrics(where, "eval"))


def checked_stages(arm, seed, scale, workdir):
    """`studies.stages` of an arm and seed.

    Raises:
      UserError: a bad config, or a run directory has checkpoints of a config, or from weights, that give other numbers.
    """
    folder = folder_of(workdir, arm, seed)
    found = stages(arm, seed, scale, folder)
    for config, where in found:
        relo_config.validate(config)
        if any(path.name.isdigit() for path in (where / run_directory.CHECKPOINTS).glob("*")):  # not half a save
            _check_same_config(config, where, folder, config is found[0][0])
            _check_same_start(config, where, folder)
    return found


def began_with(arm, seed, workdir):
    """What the first stage of a trained arm began with: a dict as of `card.of_checkpoint`, None for nothing."""
    (_, where), *_ = stages(arm, seed, 1.0, folder_of(workdir, arm, seed))
    return model_card.read(where).get("parent")


def _check_same_config(config, where, folder, is_first):
    model = RELO.from_config(config.model)
    given = {**relo_config.to_dict(config), "model": model.config.to_dict()}
    _, step = run_directory.run_and_step(where)
    saved = run_directory.read_config(where)
    if not is_first:  # the stage before, beside it, by whatever way its folder was named then
        saved = {**saved, "init_from": given["init_from"]}
    try:
        relo_config.check_same_run(saved, given, where / run_directory.CONFIG_FILE, step)
    except UserError as error:
        raise UserError(
            f"{error}; the study has changed since, or --scale is another: remove {folder} to train it again, or give "
            "another --workdir"
        ) from error


def _check_same_start(config, where, folder):
    """The starter's weights may have become others under the same name since."""
    before = (model_card.read(where).get("parent") or {}).get("sha256")
    now = model_card.of_checkpoint(config.init_from).get("sha256") if config.init_from else None
    if before and now and before != now:
        raise UserError(
            f"{where} began with other weights by the name of {config.init_from} (SHA-256 {before[:12]}, now "
            f"{now[:12]}): remove {folder} to train it again, or give another --workdir"
        )
