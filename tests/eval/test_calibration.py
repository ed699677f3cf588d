"""Calibration: the fit finds what was there, figures are those by hand, thresholds keep their promise; the calibrate."""

import io
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
from relo_jax.eval.lockstep import Lockstep
from relo_jax.study import demo
from relo_jax.tracking import confidence
from tests import command

TRUE = dict(
    score_bias=-7.0,
    score_local_probability=0.2,
    score_value=3.0,
    score_appearance_similarity=4.0,
    score_center_proximity=2.0,
)
FALSE_ALARMS = 0.1


def draw(count, weights=TRUE, seed=0):
    """Evidence of the sizes that trackers have, and boxes that are right as often as the weights say."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal((6, 1, 0.8, 0.9), (4, 0.4, 0.3, 0.3), (count, 4))
    return evidence, rng.random(count) < probability(evidence, weights)


def probability(evidence, weights):
    return np.asarray(confidence.probability(evidence, weights), np.float64)


def test_the_fit_finds_the_weights_that_were_there():
    evidence, right = draw(60_000)
    found = calibration.fit(evidence, right)
    for name, true in TRUE.items():
        assert found[name] == pytest.approx(true, rel=0.12), name
    held_out, answer = draw(20_000, seed=1)
    scores = probability(held_out, found)
    assert calibration.expected_calibration_error(scores, answer) < 0.015
    assert np.abs(scores - probability(held_out, TRUE)).max() < 0.05


def test_evidence_that_speaks_against_has_no_weight_and_one_that_never_changes_does_no_harm():
    evidence, right = draw(4_000)
    evidence[:, 0], evidence[:, 2] = -evidence[:, 0], 0.5
    found = calibration.fit(evidence, right)
    assert (
        found["score_local_probability"] == 0 and found["score_value"] > 2 and np.isfinite(list(found.values())).all()
    )
    assert all(found[name] >= 0 for name in confidence.FIELDS[1:])


def test_a_fit_to_too_little_is_one_line():
    evidence, right = draw(400)
    few = np.zeros(400, bool)
    few[:29] = True
    for answer in (few, ~few):
        with pytest.raises(UserError, match="29 .*at least 30 of each"):
            calibration.fit(evidence, answer)
    with pytest.raises(UserError, match="not finite"):
        calibration.fit(np.where(evidence > 1, np.nan, evidence), right)


def test_the_calibration_error_by_hand():
    scores = np.array([0.05, 0.05, 0.05, 0.05, 0.95, 0.95, 1.0, 0.5])
    right = np.array([0, 0, 0, 1, 1, 1, 0, 1], bool)
    by_hand = 4 / 8 * abs(0.05 - 1 / 4) + 3 / 8 * abs(2.9 / 3 - 2 / 3) + 1 / 8 * abs(0.5 - 1)
    assert calibration.expected_calibration_error(scores, right) == pytest.approx(by_hand)
    assert calibration.expected_calibration_error([0.0, 1.0], [False, True]) == 0
    assert calibration.expected_calibration_error([0.0, 1.0], [True, False]) == 1


def test_the_area_under_the_roc_counts_pairs():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 6, 60) / 5, rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[right] for b in scores[~right]]
    assert calibration.auroc(scores, right) == pytest.approx(np.mean(pairs))
    assert np.isnan(calibration.auroc([0.1, 0.2], [True, True]))


def test_what_is_right():
    truth = np.array([[0, 0, 10, 10]] * 3 + [[np.nan] * 4, [5, 5, 0, 0], [0, 0, 10, 10]], float)
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5.1]] + [[0, 0, 10, 10]] * 3, float)
    visible = np.array([True] * 5 + [False])
    # Equal; half, which is not above a half; a little more than half; nowhere; without area; hidden.
    assert calibration.is_right(boxes, truth, visible).tolist() == [True, False, True, False, False, False]


@pytest.mark.parametrize("allowed", [0.0, 0.01, 0.05, 0.333, 0.5, 1.0])
def test_no_more_than_the_stated_share_reaches_the_threshold_and_none_lower_would_do(allowed):
    rng = np.random.default_rng(1)
    scores, right = np.round(rng.random(400), 3), rng.random(400) < 0.5  # some equal
    threshold = calibration.threshold_for(scores, right, allowed)
    wrong = scores[~right]
    assert (wrong >= threshold).mean() <= allowed
    if threshold > 0:
        assert (wrong >= threshold - 2e-4).mean() > allowed


def test_the_threshold_keeps_its_promise_on_frames_that_it_has_not_seen():
    (evidence, right), (new, answer) = draw(8_000, seed=2), draw(8_000, seed=3)
    fitted = calibration.fit(evidence, right)
    threshold = calibration.threshold_for(probability(evidence, fitted), right, FALSE_ALARMS)
    scores = probability(new, fitted)
    numbers = calibration.figures(scores, answer, scores >= threshold)
    deviation = np.sqrt(2 * FALSE_ALARMS * (1 - FALSE_ALARMS) / (~answer).sum())  # of both halves
    assert abs(numbers["false_alarm_rate"] - FALSE_ALARMS) < 4 * deviation
    assert numbers["found_rate"] > 3 * FALSE_ALARMS


def test_the_interval_is_of_sequences_not_of_frames():
    groups = np.repeat(np.arange(20), 50)
    statistic = groups < 4  # all frames of a fifth of the sequences
    low, high = calibration.interval(statistic, groups)
    assert 0.02 < low < 0.1 and 0.3 < high < 0.45  # of independent frames: 0.175 to 0.225
    assert calibration.interval(np.zeros(10, bool), np.zeros(10)) == (0, 0)


def test_shares_of_nothing_are_none():
    numbers = calibration.figures([0.2, 0.9], [True, True], [False, True])
    assert numbers["false_alarm_rate"] is None and numbers["auroc"] is None and numbers["found_rate"] == 0.5
    json.dumps(numbers, allow_nan=False)


def test_the_diagram_is_a_picture(tmp_path):
    evidence, right = draw(500)
    trackers = {"one": (probability(evidence, TRUE), right), "certain": (np.ones(500), right)}
    calibration.reliability_plot(tmp_path / "a.png", trackers)
    buffer = io.BytesIO()
    calibration.reliability_plot(buffer, trackers)
    assert (tmp_path / "a.png").read_bytes()[:4] == buffer.getvalue()[:4] == b"\x89PNG"


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
    """The command on a handful of clips with absences; what it printed is left out."""
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
    changed = {*confidence.FIELDS, "found_threshold"}
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
    low, high = report["false_alarm_interval"]
    assert low <= report["after"]["false_alarm_rate"] <= high
    # Of eight clips, so no more than that: most alarms of before are gone.
    assert report["after"]["false_alarm_rate"] < 0.6 * report["before"]["false_alarm_rate"]
    assert (run / calibrate.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_the_demo_shows_it(calibrated, run):
    report = json.loads((run / calibrate.FILE).read_text())
    section = demo.reliability(run)
    for label in ("before", "after"):
        assert f"{report[label]['ece']:.3f}" in section and f"{report[label]['found_rate']:.3f}" in section
    assert "data:image/png;base64," in section


def test_the_same_weights_get_the_same_calibration_back(calibrated, run, starter):
    """After training was started anew on a run that was finished, which writes the config as it was before."""
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
    """Of the starter, over clips that the fit has not seen."""
    loaded = checkpoint.load(run)
    engine = Lockstep(loaded.model, loaded.variables, loaded.config["tracker"], batch=8)
    there, away, back = [], [], []
    for tracked in engine.run(clips(8, seed=6)):
        sequence, scores = tracked.sequence, tracked.scores
        right = calibration.is_right(tracked.boxes_xywh, sequence.boxes_xywh, sequence.visible)
        gone = np.flatnonzero(~sequence.visible)
        there += scores[1 : gone[0]][right[1 : gone[0]]].tolist()
        away += scores[gone[3:-3]].tolist()
        back += scores[gone[-1] + 1 :][right[gone[-1] + 1 :]].tolist()
    assert len(back) > 20
    assert np.mean(there) > np.mean(away) + 0.2 and np.mean(back) > np.mean(away) + 0.2


@pytest.mark.parametrize(
    "path, message",
    [
        ("starter", "is part of the package: copy"),
        ("nothing.msgpack", "no such checkpoint"),
        ("no/where", "no such checkpoint"),
        ("weights.pth.tar", "has no place for a score's weights: relo convert"),
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


def in_sequences(count, frames, seed):
    """Evidence, right and sequence of frames that come in sequences, which have evidence and its errors in common."""
    rng = np.random.default_rng(seed)
    shown, unseen = np.repeat(rng.normal(0, (4, 0.4, 0.3, 0.3), (2, count, 4)), frames, 1)
    evidence = rng.normal((2, 0.9, 0.8, 0.8), (2, 0.2, 0.15, 0.15), shown.shape) + shown
    right = rng.random(count * frames) < probability(evidence + unseen, TRUE)
    return evidence, right, np.repeat(np.arange(count), frames)


def test_the_threshold_keeps_its_promise_on_sequences_that_it_has_not_seen():
    """On the mean over many small calibrations; a threshold chosen on the frames that were fitted to does not."""
    new, answer, _ = in_sequences(300, 40, seed=99)
    chosen, fitted_to = [], []
    for seed in range(30):
        evidence, right, sequence = in_sequences(16, 40, seed)
        options = calibration.fit_with_threshold(evidence, right, sequence, FALSE_ALARMS)
        wrong = probability(new, options)[~answer]
        chosen.append((wrong >= options["found_threshold"]).mean())
        threshold = calibration.threshold_for(probability(evidence, options), right, FALSE_ALARMS)
        fitted_to.append((wrong >= threshold).mean())
    assert abs(np.mean(chosen) - FALSE_ALARMS) < 0.03 and np.mean(fitted_to) > FALSE_ALARMS + 0.06


def test_nothing_of_a_sequence_has_a_part_in_what_is_said_of_it():
    evidence, right, sequence = in_sequences(12, 50, seed=0)
    scores, found = calibration.cross_validate(evidence, right, sequence, 0.2)
    assert (found[right].mean() > found[~right].mean()) and 0 < found[~right].mean() < 0.5
    for changed in (0, 7):
        frames = sequence == changed
        part = sequence % calibration.FOLDS == changed % calibration.FOLDS
        turned = np.where(frames, ~right, right)
        again, found_again = calibration.cross_validate(evidence, turned, sequence, 0.2)
        np.testing.assert_array_equal(again[part], scores[part])
        assert np.array_equal(found_again[part], found[part]) and np.abs(again[~part] - scores[~part]).max() > 1e-3


def test_the_written_fit_is_of_all_sequences_and_the_figures_are_of_the_others(starter, monkeypatch):
    evidence, right, sequence = in_sequences(12, 50, seed=1)
    monkeypatch.setattr(calibrate, "look", lambda *args: calibrate.Seen(evidence, right, sequence))
    found = calibrate.calibrate(starter, [None] * 12, 0.2)
    assert found.options == calibration.fit_with_threshold(evidence, right, sequence, 0.2)
    assert {name: found.options[name] for name in confidence.FIELDS} == calibration.fit(evidence, right)
    scores, hits = calibration.cross_validate(evidence, right, sequence, 0.2)
    np.testing.assert_array_equal(found.scores[calibrate.AFTER][0], scores)
    threshold = found.options["found_threshold"]
    assert found.figures[calibrate.AFTER] == {**calibration.figures(scores, right, hits), "threshold": threshold}
    assert found.interval == calibration.interval(hits[~right], sequence[~right])
    assert found.measured == (12, 600) and "12 sequences (600 frames" in calibrate.table(found, 0.2)


def test_sequences_that_fail_are_not_counted(starter, monkeypatch):
    evidence, right, sequence = in_sequences(2, 50, seed=1)
    monkeypatch.setattr(calibrate, "look", lambda *args: calibrate.Seen(evidence, right, sequence))
    with pytest.raises(UserError, match="only 2 of the sequences can be tracked: give at least 3"):
        calibrate.calibrate(starter, [None] * 5, 0.2)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_is_one_line(starter, share):
    with pytest.raises(UserError, match="--false-alarms is .*: give a share"):
        calibrate.calibrate(starter, [], share)


def test_two_sequences_are_too_few(starter):
    with pytest.raises(UserError, match="2 sequences: give at least 3"):
        calibrate.calibrate(starter, clips(2, 0))
