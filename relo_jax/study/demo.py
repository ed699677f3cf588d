"""The demo: RELO in minutes, on procedural sequences. It trains a policy, evaluates it and films it tracking.

The demo shows the RL stage (paper, Section 3.2): encoder and regression head come from a warm-up, policy and value head
start from random weights, and the reward alone teaches the policy where the target is. The same held-out sequences
(with seeds and textures that training does not use) then evaluate the policy before and after, and a box that never
moves. With `full`, the demo runs the warm-up too, at a small budget.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.checkpoints.provenance import circumstances
from relo_jax.data.sequence import Sequence
from relo_jax.eval import calibrate, calibration, metrics, runner
from relo_jax.eval.evaluation import Evaluation
from relo_jax.eval.report import demo_page, html, tables
from relo_jax.eval.report.comparison import of_measured
from relo_jax.eval.report.comparison_page import PAGE_FILE
from relo_jax.files import atomic_write
from relo_jax.media import video
from relo_jax.media.overlay import draw
from relo_jax.model import RELO
from relo_jax.study.held_out import FRAMES, SEQUENCES, held_out_sequences
from relo_jax.tracking.follow import follow
from relo_jax.tracking.result import Look, Result
from relo_jax.tracking.tracker import Tracker
from relo_jax.train.initialise import initial_variables
from relo_jax.train.loop import train_to_end

# The sequences of the calibration have their own seed too.
CALIBRATION_SEQUENCES, CALIBRATION_FRAMES, CALIBRATION_SEED = 24, 60, 2027
# Of the RL stage, by `full`. On the features of the starter's warm-up, the policy has learned after thirty.
RL_STEPS = {False: 50, True: 300}
EVALUATIONS = 4  # in a stage, on held-out clips
EVAL_BATCHES = 2  # of such clips
WARMUP_STEPS = 1_000  # of the full demo
MINUTES = {False: "two to three", True: "13"}  # on two cores, by `full`; for the first line only
BEFORE, AFTER = "policy before RL", "policy after RL"
# What the film shows: a target that is large enough to watch, in a scene that is neither dark nor blank.
SMALLEST, DARKEST, BRIGHTEST = 30, 85, 200  # side in pixels, mean of the first frame's
RESULT_FILE, VIDEO_FILE = "demo.json", "tracking.mp4"
DIGITS = "The last digits depend on the processor."


def run(workdir: Path | str, *, seed: int = 0, full: bool = False, relo: str = "relo") -> dict:
    """Trains, evaluates, tracks, and prints the results.

    Args:
      workdir: run directory, with an ordinary checkpoint. An interrupted demo continues.
      seed: of the heads, the sampled actions and the training clips; the evaluation's sequences are always the same.
      full: both stages from random weights, instead of the RL stage from the tiny starter's warm-up.
      relo: how to call the command, for the lines at the end.

    Returns:
      The content of `demo.json`.

    Raises:
      UserError: the directory has another run, the disk is full, or the demo was interrupted.
    """
    workdir, start = Path(workdir), time.perf_counter()
    print(announcement(workdir, full), flush=True)
    stages, init_from = {}, "starter-warmup"
    if full:
        stages["warm-up"], init_from = workdir / "warmup", str(workdir / "warmup")
        train_to_end((stage_config("warmup", seed, WARMUP_STEPS), init_from))
    config = stage_config("rl", seed, RL_STEPS[full], init_from)
    train_to_end((config, workdir))
    stages["RL stage"], trained = workdir, time.perf_counter()
    sections = calibrated(workdir)

    sequences = held_out_sequences(SEQUENCES, FRAMES)
    options = run_directory.read_config(workdir)["tracker"]  # the same for both, so that they share compiled programs
    folder, untrained = workdir / "evaluation", policy_before(config)
    before = runner.evaluate(sequences, untrained, folder / "before", options=options, name=BEFORE)
    after = runner.evaluate(sequences, workdir, folder / "after", name=AFTER)
    shown = typical(sequences, after)
    seen = Tracker(untrained.model, untrained.variables, options), Tracker.from_pretrained(workdir)
    looks = film(dict(zip((BEFORE, AFTER), seen, strict=True)), shown, workdir / VIDEO_FILE)

    trackers = (before.tracker, after.tracker, after.still)
    result = about(config, full) | {
        "sequences": len(sequences),
        "scores": {tracker.label: tracker.mean_numbers() for tracker in trackers},
        "training_seconds": round(trained - start, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time(), 1),  # of all cores: what the machine does besides counts little
    }
    demo_page.write_report(
        workdir,
        of_measured(after.benchmark, trackers),
        title="RELO learns where to look",
        lead="A policy over the cells of the search region, taught by reward alone on procedural clips, then tested on "
        f"{len(sequences)} sequences with seeds and textures that it has never seen.",
        training=stages,
        sections=sections,
        shown=(shown, AFTER, looks[AFTER]),
        video=workdir / VIDEO_FILE,
        facts=facts(result),
    )
    with atomic_write(workdir / RESULT_FILE) as file:
        file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{table(result['scores'])}\n{DIGITS}\n\n{farewell(workdir, result, relo)}")
    return result


def announcement(workdir: Path, full: bool) -> str:
    """The demo's first lines: what will happen and how long it takes."""
    what = "both training stages, from random weights" if full else "the RL stage, from the tiny starter's warm-up"
    return (
        f"RELO demo: {what}, then evaluation on {SEQUENCES} held-out sequences and a video of one of them.\n"
        f"It takes {MINUTES[full]} minutes on two cores. Everything is written to {workdir}; Ctrl-C stops, the same "
        "command continues."
    )


def stage_config(stage: str, seed: int, total_steps: int, init_from: str = "") -> ConfigDict:
    """The tiny starter's recipe at the demo's budget."""
    config = relo_config.starter(stage)
    config.seed = config.data.seed = seed
    config.init_from = init_from
    config.total_steps = total_steps
    config.eval_every = config.checkpoint_every = max(total_steps // EVALUATIONS, 1)
    config.eval_batches = EVAL_BATCHES
    config.log_every = max(total_steps // 100, 1)
    config.keep_checkpoints = 1
    return config


def policy_before(config: ConfigDict) -> checkpoint.Loaded:
    """The model with which the RL stage of a config begins: fresh heads on the warm-up's features."""
    model = RELO.from_config(config.model)
    key, _ = jax.random.split(jax.random.key(config.seed))  # as in train.initialise.first_state
    return checkpoint.Loaded(model, initial_variables(config, model, key), relo_config.to_dict(config))


def typical(sequences: list[Sequence], evaluation: Evaluation) -> Sequence:
    """The sequence with the median AUC, among those that are good to watch."""

    def is_good(sequence: Sequence) -> bool:
        return min(sequence.boxes_xywh[0, 2:]) >= SMALLEST and DARKEST <= sequence.read_frame(0).mean() <= BRIGHTEST

    watchable = [sequence for sequence in sequences if is_good(sequence)] or sequences
    return sorted(watchable, key=lambda s: evaluation.curves[s.name].auc)[len(watchable) // 2]


def film(trackers: Mapping[str, Tracker], sequence: Sequence, path: Path) -> dict[str, list[Result | Look]]:
    """Writes a video of what each tracker sees, side by side: its policy, its box and the true one.

    Returns:
      The Looks of each tracker, of all frames; the first is a Result, since its box is given.
    """
    frames = lambda: (sequence.read_frame(index) for index in range(len(sequence)))
    views = [follow(tracker, frames(), sequence.boxes_xywh[0], look=True) for tracker in trackers.values()]
    looks: dict[str, list] = {label: [] for label in trackers}
    with video.write_video(path) as write:
        for truth, *seen in zip(sequence.boxes_xywh, *views, strict=True):
            panes = [draw(frame, look, truth, label) for label, (frame, look) in zip(trackers, seen, strict=True)]
            # As wide as makes the film's width a multiple of 16: of others, x264 does not always make the same bytes.
            between = np.full((len(panes[0]), 16, 3), 255, np.uint8)
            write(np.hstack([part for pane in panes for part in (between, pane)][1:]))
            for label, (_, look) in zip(trackers, seen, strict=True):
                looks[label].append(look)
    return looks


def about(config: ConfigDict, full: bool) -> dict:
    """How the numbers were made: the command, the budget and the machine."""
    return {
        "command": "relo demo" + (" --full" if full else "") + (f" --seed {config.seed}" if config.seed else ""),
        "seed": config.seed,
        "rl_steps": config.total_steps,
        "rl_clips": config.total_steps * config.batch_size,
        **circumstances(),
    }


def facts(result: dict) -> dict:
    """The same for the page."""
    minutes = f"{result['seconds'] / 60:.1f} minutes, {result['training_seconds'] / 60:.1f} of them training"
    return {name: result[name] for name in ("command", "seed", "machine", "date")} | {
        "RL stage": f"{result['rl_steps']} steps, {result['rl_clips']} clips", "time": minutes,
    }  # fmt: skip


def calibrated(workdir: Path) -> list[str]:
    """Calibrates the score of a finished run, unless an earlier demo did so for the same weights.

    Returns:
      The report's sections on the score as HTML: one, or none (with a printed line) if the tracker is too good or too
      bad for a fit.
    """
    loaded = checkpoint.load_tracker(workdir)
    if not calibrate.restore(workdir, loaded):
        clips = calibrate.procedural(CALIBRATION_SEQUENCES, CALIBRATION_SEED, CALIBRATION_FRAMES)
        data = {
            "dataset": "procedural",
            "seed": CALIBRATION_SEED,
            "sequences": len(clips),
            "frames": CALIBRATION_FRAMES,
        }
        try:
            result = calibrate.calibrate(loaded, clips)
        except calibration.TooFewFrames as error:
            print(f"the score stays uncalibrated: {error}")
            return []
        about = {"checkpoint": str(workdir), "data": data}
        calibrate.write(result, loaded, workdir / run_directory.CONFIG_FILE, workdir, about)
    return [reliability(workdir)]


def reliability(workdir: Path) -> str:
    """The report's section on the score as HTML, from the files of the calibration."""
    report = json.loads((workdir / calibrate.FILE).read_text())
    names = {"ece": "calibration error", "false_alarm_rate": "false alarms", "found_rate": "found"}
    rows = [[f"score {k}", *(html.number(report[k][name]) for name in names)] for k in ("before", "after")]
    text = (
        "The score is the probability that the box is right. It is fitted on clips, in half of which the target goes "
        "out of sight, and measured on each clip by a fit to the others: four in five of the frames with a score of "
        "0.8 should be right. False alarms are frames whose target is lost and that count as found; found is the share "
        "of the frames with a right box that do. The threshold of the score, "
        f"{report['tracker']['found_threshold']:g}, balances the two errors."
    )
    picture = html.plot((workdir / calibrate.PICTURE).read_bytes(), "reliability diagram")
    numbers = html.table(["", *names.values()], rows) + html.note(text)
    return html.section("Does it know when it is wrong?", html.pair(numbers, picture))


def table(scores: dict[str, dict[str, float]]) -> str:
    """The scores as text."""
    columns = {name: metrics.HEADINGS[name] for name in next(iter(scores.values()))}
    return tables.as_text("on sequences never seen", columns, scores)


def farewell(workdir: Path, result: dict, relo: str) -> str:
    """The demo's last lines: what to open and what to do next, as commands to paste."""
    checkpoint = f"--checkpoint {shlex.quote(str(workdir))} --heatmap --save out.mp4"
    return (
        f"{result['seconds'] / 60:.1f} minutes. Open {workdir / PAGE_FILE}; the film is {workdir / VIDEO_FILE}.\n"
        f"On a real video:        {relo} track --example {checkpoint}\n"
        f"On one of your own:     {relo} track VIDEO --box x,y,w,h {checkpoint}"
    )
