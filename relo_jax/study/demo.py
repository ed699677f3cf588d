"""The demo: RELO in minutes, on procedural sequences: teach a policy where to look, evaluate it, watch it track.

The point of it is the RL stage (paper, Section 3.2): encoder and regression head are those of a warm-up, policy and
value head start from nothing, and reward is all that tells the policy where the target is. The same held-out sequences
(other seeds, other textures than in training) then go to the policy before and after, and to a box that never moves.
With `full`, the warm-up is done here too, at a small budget.
"""

import json
import time
from pathlib import Path

import jax

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.checkpoints.provenance import circumstances
from relo_jax.eval import calibrate, calibration, runner
from relo_jax.eval.report import demo_page, html, plots
from relo_jax.files import atomic_write
from relo_jax.media import video
from relo_jax.media.overlay import draw
from relo_jax.model import RELO
from relo_jax.study.held_out import FRAMES, SEQUENCES, held_out_sequences
from relo_jax.tracking.tracker import Tracker, follow
from relo_jax.train.initialise import initial_variables
from relo_jax.train.loop import train_to_end

# Of what the score is fitted to and measured on: seeds of their own, too.
CALIBRATION_SEQUENCES, CALIBRATION_FRAMES, CALIBRATION_SEED, FALSE_ALARMS = 32, 60, 2027, 0.05
RL_STEPS = 300
WARMUP_STEPS = 1_000  # of the full demo
MINUTES = {False: 3, True: 13}  # on two cores, by `full`; for the first line only
BEFORE, AFTER, STILL = "policy before RL", "policy after RL", "box that never moves"
RESULT_FILE, VIDEO_FILE, TRAINING_FILE, REPORT_FILE = "demo.json", "tracking.mp4", "training.png", "report.html"


def run(workdir, *, seed=0, full=False):
    """Trains, evaluates, tracks, and prints what came of it.

    Args:
      workdir: run directory; the checkpoint in it is an ordinary one. A demo that was interrupted continues.
      seed: of the heads, the sampled actions and the training clips; the evaluation's sequences are always the same.
      full: both stages from nothing, instead of the RL stage from the tiny starter's warm-up.

    Returns:
      What `demo.json` holds: dict.

    Raises:
      UserError: the directory holds another run, the disk is full, or the demo was interrupted.
    """
    workdir, start = Path(workdir), time.perf_counter()
    print(announcement(workdir, full), flush=True)
    stages, init_from = {}, "starter-warmup"
    if full:
        stages["warm-up"], init_from = workdir / "warmup", str(workdir / "warmup")
        train_to_end(stage_config("warmup", seed, WARMUP_STEPS), init_from)
    config = stage_config("rl", seed, RL_STEPS, init_from)
    train_to_end(config, workdir)
    stages["RL stage"], trained = workdir, time.perf_counter()
    sections = calibrated(workdir)

    sequences, options = (
        held_out_sequences(SEQUENCES, FRAMES),
        run_directory.read_config(workdir)["tracker"],
    )  # the same ones: one program for both
    folder = workdir / "evaluation"
    before = runner.evaluate(sequences, policy_before(config), folder / "before", options=options, name=BEFORE)
    after = runner.evaluate(sequences, workdir, folder / "after", name=AFTER)
    shown = typical(sequences, after)
    results = film(Tracker.from_pretrained(workdir), shown, workdir / VIDEO_FILE)

    scores = {BEFORE: before.mean, AFTER: after.mean, STILL: after.still_mean}
    done = time.perf_counter()
    result = about(config, full) | {
        "sequences": len(sequences),
        "scores": {name: curves.numbers() for name, curves in scores.items()},
        "training_seconds": round(trained - start, 1),
        "seconds": round(done - start, 1),
    }
    each = {BEFORE: before.curves, AFTER: after.curves, STILL: after.still}
    leave(workdir, result, scores, each, stages, sections, demo_page.key_frames(shown, results))
    print(f"\n{table(result['scores'])}\n\n{farewell(workdir, result)}")
    return result


def announcement(workdir, full):
    """What will happen and how long it takes, in the demo's first lines."""
    what = "both training stages from nothing" if full else "the RL stage, from the tiny starter's warm-up"
    return (
        f"RELO demo: {what}, then evaluation on {SEQUENCES} held-out sequences and a video of one of them.\n"
        f"About {MINUTES[full]} minutes on two cores. All of it is left in {workdir}; Ctrl-C stops, the same command "
        "goes on."
    )


def stage_config(stage, seed, total_steps, init_from=""):
    """The tiny starter's recipe at the demo's budget."""
    config = relo_config.starter(stage)
    config.seed = config.data.seed = seed
    config.init_from = init_from
    config.total_steps = total_steps
    config.eval_every = config.checkpoint_every = max(total_steps // 4, 1)
    config.log_every = max(total_steps // 100, 1)
    config.keep_checkpoints = 1
    return config


def policy_before(config):
    """What the RL stage of a config begins with, as a `checkpoint.Loaded`: fresh heads on the warm-up's features."""
    model = RELO.from_variant(config.model.variant, **relo_config.model_overrides(config))
    key, _ = jax.random.split(jax.random.key(config.seed))  # as in train.initial.first_state
    return checkpoint.Loaded(model, initial_variables(config, model, key), relo_config.to_dict(config))


def typical(sequences, evaluation):
    """The sequence whose AUC is the median one, neither the best film nor the worst, of those large enough to watch."""
    watchable = [s for s in sequences if min(s.boxes_xywh[0, 2:]) >= 30] or sequences
    return sorted(watchable, key=lambda s: evaluation.curves[s.name].auc)[len(watchable) // 2]


def film(tracker, sequence, path):
    """Writes a video of a sequence with the tracked box and the true one; returns the tracker's Results."""
    results = []
    frames = (sequence.read_frame(index) for index in range(len(sequence)))
    with video.write_video(path) as write:
        tracked = follow(tracker, frames, sequence.boxes_xywh[0])
        for (frame, result), truth in zip(tracked, sequence.boxes_xywh, strict=True):
            write(draw(frame, result, truth))
            results.append(result)
    return results


def about(config, full):
    """What a reader of the figures must know of the run."""
    return {
        "command": "relo demo" + (" --full" if full else "") + (f" --seed {config.seed}" if config.seed else ""),
        "seed": config.seed,
        "rl_steps": config.total_steps,
        "rl_clips": config.total_steps * config.batch_size,
        **circumstances(),
    }


def calibrated(workdir):
    """Fits the score of a finished run, unless an earlier demo did so to the same weights; the report's section on it.

    Returns:
      list of HTML; none of it when the tracker is so good or so bad that there is nothing to fit to, which is said.
    """
    loaded = checkpoint.load_tracker(workdir)
    if not calibrate.restore(workdir, loaded):
        clips = calibrate.procedural(CALIBRATION_SEQUENCES, CALIBRATION_SEED, CALIBRATION_FRAMES)
        what = {
            "dataset": "procedural",
            "seed": CALIBRATION_SEED,
            "sequences": len(clips),
            "frames": CALIBRATION_FRAMES,
        }
        try:
            found = calibrate.calibrate(loaded, clips, FALSE_ALARMS)
        except calibration.TooFewFrames as error:
            print(f"the score stays uncalibrated: {error}")
            return []
        about = {"checkpoint": str(workdir), "data": what, "false_alarms": FALSE_ALARMS}
        calibrate.write(found, loaded, workdir / run_directory.CONFIG_FILE, workdir, about)
    return [reliability(workdir)]


def reliability(workdir):
    """The report's section on the score, from what the calibration left: HTML."""
    report = json.loads((workdir / calibrate.FILE).read_text())
    names = {"ece": "calibration error", "false_alarm_rate": "false alarms", "found_rate": "found"}
    rows = [[f"score {k}", *(html.number(report[k][name]) for name in names)] for k in ("before", "after")]
    says = (
        "The score is the probability that the box is right, fitted on clips in half of which the target goes out of "
        "sight, and measured on each clip by a fit to others: of the frames with a score of 0.8, four in five should "
        "be right. False alarms are frames without the target, or with a wrong box, that count as found; found is the "
        f"share of the others that do. The threshold, {report['tracker']['found_threshold']:g}, was chosen for a rate "
        f"of {report['false_alarms']:g} of false alarms on clips that a fit has not seen."
    )
    picture = html.picture((workdir / calibrate.PICTURE).read_bytes(), "png", "reliability diagram")
    numbers = html.table(["", *names.values()], rows) + html.note(says)
    return html.section("Does it know when it is wrong?", f'<div class="pair"><div>{numbers}</div>{picture}</div>')


def leave(workdir, result, scores, each, stages, sections, frames):
    """Writes the figures as JSON, plots and the report that shows them."""
    plots.success_plot(workdir / plots.SUCCESS_FILE, scores)
    plots.precision_plot(workdir / plots.PRECISION_FILE, scores)
    plots.training_curves(workdir / TRAINING_FILE, stages)
    facts = {name: result[name] for name in ("command", "seed", "machine", "date")}
    facts["RL stage"] = f"{result['rl_steps']} steps, {result['rl_clips']} clips"
    facts["time"] = f"{result['seconds'] / 60:.1f} minutes, {result['training_seconds'] / 60:.1f} of them training"
    demo_page.write_report(
        workdir / REPORT_FILE,
        title="RELO learns where to look",
        lead="A policy over the cells of the search region, taught by reward alone on procedural clips, then tested on "
        f"{result['sequences']} sequences with seeds and textures that it has never seen.",
        trackers=scores,
        sequences=each,
        training=stages,
        sections=sections,
        frames=frames,
        video=workdir / VIDEO_FILE,
        facts=facts,
    )
    with atomic_write(workdir / RESULT_FILE) as file:
        file.write_text(json.dumps(result, indent=2) + "\n")


def table(scores):
    """The scores as text."""
    lines = [f"{'on sequences never seen':<24}{'AUC':>8}{'P20':>8}{'NP20':>8}{'AO':>8}"]
    for name, row in scores.items():
        lines.append(f"{name:<24}" + "".join(f"{row[k]:>8.3f}" for k in ("auc", "p20", "np20", "ao")))
    return "\n".join(lines)


def farewell(workdir, result):
    """Where to look now."""
    return (
        f"{result['seconds'] / 60:.1f} minutes. See {workdir / REPORT_FILE}; the video is {workdir / VIDEO_FILE}.\n"
        f"Track something of your own: relo track VIDEO --box x,y,w,h --checkpoint {workdir} --save out.mp4"
    )
