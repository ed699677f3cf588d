"""Calibrating a checkpoint: what is written, restored and reported, and how the score then behaves."""

import json

import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import run_directory
from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.errors import UserError
from relo_jax.eval import calibrate, calibration
from relo_jax.eval.frame_evidence import is_right
from relo_jax.eval.lockstep import Lockstep
from relo_jax.study import demo
from relo_jax.tracking import confidence
from tests import command
from tests.eval.test_calibration import in_sequences


@pytest.fixture(scope="module")
def starter():
    return checkpoint.load("starter-tiny")


@pytest.fixture(scope="module")
def run(starter, tmp_path_factory):
    """A run directory with the starter's weights, a config of training, and a score that is not calibrated."""
    path = tmp_path_factory.mktemp("runs") / "run"
    checkpoint.save_variables(path, starter.model, starter.variables)
    config = relo_config.to_dict(relo_config.starter("rl"))
    run_directory.write_config(path, {**config, "model": run_directory.read_config(path)["model"]})
    return path


@pytest.fixture(scope="module")
def calibrated(run):
    """Runs the command on a few clips with absences; the config before it."""
    before = run_directory.read_config(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "FRAMES", 48)
        patch.setattr(calibrate, "procedural", lambda count, seed: clips(count, seed))
        command.run("calibrate", "--checkpoint", run, "--count=16", "--seed=3", "--false-alarms=0.2")
    return before


def clips(count, seed):
    easy = Options(
        num_frames=48, bank_size=24, absence=1.0, distractors=1, clutter=3, occlusion=0.0, fastest=0.08, jump=0
    )
    return heldout(seed, count, easy)


def test_the_command_writes_weights_threshold_report_and_diagram(calibrated, run):
    config, report = run_directory.read_config(run), json.loads((run / calibrate.FILE).read_text())
    changed = set(confidence.FITTED)
    assert {k: v for k, v in config["tracker"].items() if k not in changed} == {
        k: v for k, v in calibrated["tracker"].items() if k not in changed
    }
    assert {k: v for k, v in config.items() if k != "tracker"} == {
        k: v for k, v in calibrated.items() if k != "tracker"
    }
    assert confidence.is_calibrated(config["tracker"]) and report["tracker"].items() <= config["tracker"].items()
    relo_config.from_dict(config)
    assert report["dtype"] == "float32"
    assert report["measured"] == {"sequences": 16, "frames": 16 * 47} and report["folds"] == 5
    assert report["after"]["ece"] < report["before"]["ece"] and report["after"]["brier"] < report["before"]["brier"]
    low, high = report["after"]["false_alarm_interval"]
    assert low <= report["after"]["false_alarm_rate"] <= high
    # With so few clips the rate is uncertain, but most of the earlier false alarms are gone.
    assert report["after"]["false_alarm_rate"] < 0.6 * report["before"]["false_alarm_rate"]
    assert (run / calibrate.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_the_demo_shows_the_figures(calibrated, run):
    report = json.loads((run / calibrate.FILE).read_text())
    section = demo.reliability(run)
    for label in ("before", "after"):
        assert f"{report[label]['ece']:.3f}" in section and f"{report[label]['found_rate']:.3f}" in section
    assert "data:image/png;base64," in section


def test_the_same_weights_get_the_same_calibration_back(calibrated, run, starter):
    """Training that is started anew on a finished run writes the config without the calibration."""
    fitted = run_directory.read_config(run)
    run_directory.write_config(run, calibrated)
    assert calibrate.restore(run, checkpoint.load(run)) and run_directory.read_config(run) == fitted
    other = {
        **starter.variables,
        "params": {**starter.variables["params"], "value": starter.variables["params"]["policy"]},
    }
    assert not calibrate.restore(run, checkpoint.Loaded(starter.model, other, fitted))
    report = (run / calibrate.FILE).read_text()
    (run / calibrate.FILE).write_text(report[:100])
    assert not calibrate.restore(run, checkpoint.load(run)) and run_directory.read_config(run) == fitted
    (run / calibrate.FILE).write_text(report)


def test_the_score_falls_while_the_target_is_away_and_rises_when_it_is_back(calibrated, run):
    """Of the starter, on clips that the fit has not seen."""
    loaded = checkpoint.load(run)
    engine = Lockstep(loaded.model, loaded.variables, loaded.config["tracker"], batch=8)
    there, away, back = [], [], []
    for tracked in engine.run(clips(8, seed=6)):
        sequence, scores = tracked.sequence, tracked.scores
        right = is_right(tracked.boxes_xywh, sequence.boxes_xywh, sequence.visible)
        gone = np.flatnonzero(~sequence.visible)
        there += scores[1 : gone[0]][right[1 : gone[0]]].tolist()
        away += scores[gone[3:-3]].tolist()
        back += scores[gone[-1] + 1 :][right[gone[-1] + 1 :]].tolist()
    assert len(back) > 20
    assert np.mean(there) > np.mean(away) + 0.2 and np.mean(back) > np.mean(away) + 0.2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("starter", "is part of the package: copy"),
        ("nothing.msgpack", "no such checkpoint"),
        ("no/where", "no such checkpoint"),
        ("weights.pth.tar", "cannot hold the weights of a score: relo convert"),
        ("run/checkpoints/0", "is not the newest of its run"),
    ],
)
def test_a_checkpoint_that_cannot_be_calibrated_is_one_line(path, message, tmp_path):
    (tmp_path / "weights.pth.tar").write_bytes(b"")
    for step in ("0", "7"):
        (tmp_path / "run" / "checkpoints" / step).mkdir(parents=True)
        (tmp_path / "run" / "checkpoints" / step / "_CHECKPOINT_METADATA").write_text("{}")
    with pytest.raises(UserError, match=message) as caught:
        command.run("calibrate", "--checkpoint", path if path == "starter" else tmp_path / path)
    assert "\n" not in str(caught.value)


def test_the_fit_uses_all_sequences_and_the_figures_are_cross_validated(starter, monkeypatch):
    frames = in_sequences(12, 50, seed=1)
    monkeypatch.setattr(calibrate, "collect_evidence", lambda *args: frames)
    found = calibrate.calibrate(starter, [None] * 12, 0.2)
    assert found.options == {**calibration.fit_with_threshold(frames, 0.2), "found_frames": 3}
    assert {name: found.options[name] for name in confidence.FIELDS} == calibration.fit(frames.evidence, frames.right)
    scores, hits = calibration.cross_validate(frames, 3, 0.2)
    np.testing.assert_array_equal(found.scores[calibrate.AFTER][0], scores)
    after = found.figures[calibrate.AFTER]
    assert after.items() >= calibration.figures(scores, frames.overlap, hits).items()
    assert after["threshold"] == found.options["found_threshold"]
    assert after["false_alarm_interval"] == calibration.interval(hits[frames.lost], frames.sequence[frames.lost])
    assert found.measured == (12, 600) and "12 sequences (600 frames" in calibrate.table(found)


def test_an_adjustment_keeps_the_ratios_of_the_weights(starter, monkeypatch):
    frames = in_sequences(12, 50, seed=1)
    monkeypatch.setattr(calibrate, "collect_evidence", lambda *args: frames)
    found, before = calibrate.calibrate(starter, [None] * 12, adjust=True), starter.config["tracker"]
    factors = [found.options[name] / before[name] for name in confidence.FIELDS[1:]]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-3)
    assert found.figures["after"]["ece"] < found.figures["before"]["ece"]
    plain = {**starter.config, "tracker": {}}
    with pytest.raises(UserError, match="--adjust changes the score of a calibrated checkpoint"):
        calibrate.calibrate(checkpoint.Loaded(starter.model, starter.variables, plain), [None] * 12, adjust=True)


def test_sequences_that_fail_are_not_counted(starter, monkeypatch):
    monkeypatch.setattr(calibrate, "collect_evidence", lambda *args: in_sequences(2, 50, seed=1))
    with pytest.raises(UserError, match="only 2 of the sequences can be tracked: give at least 3"):
        calibrate.calibrate(starter, [None] * 5, 0.2)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_bad_false_alarm_rate_is_one_line(starter, share):
    with pytest.raises(UserError, match="--false-alarms is .*: give a share"):
        calibrate.calibrate(starter, [], share)


def test_two_sequences_are_too_few(starter):
    with pytest.raises(UserError, match="2 sequences: give at least 3"):
        calibrate.calibrate(starter, clips(2, 0))
