"""The report on a checkpoint's score: figures of all frames and of each sequence; nothing is changed."""

import json

import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.eval import calibrate, calibration, score_report
from tests import command
from tests.eval.test_calibration import TRUE, in_sequences


def test_all_frames_and_each_sequence_are_measured():
    frames = in_sequences(3, 60, seed=1)
    options = {**TRUE, "found_threshold": 0.5, "found_frames": 3}
    report = score_report.figures_of(frames, options, ["a", "b", "c"])
    scores, found = calibration.apply(frames, options)
    assert report["all"].items() >= calibration.figures(scores, frames.overlap, found).items()
    second = frames.sequence == 1
    assert report["sequences"]["b"] == calibration.figures(scores[second], frames.overlap[second], found[second])
    assert report["tracker"] == options and report["all"]["threshold"] == 0.5
    rows = score_report.table(report).splitlines()
    assert sorted(row.split(":")[0].strip() for row in rows[-3:]) == ["a", "b", "c"]


def test_the_command_reports_and_leaves_the_checkpoint_as_it_is(tmp_path, monkeypatch, capsys):
    frames = in_sequences(3, 60, seed=1)
    monkeypatch.setattr(calibrate, "collect_evidence", lambda *args: frames)
    names = type("Named", (), {"name": "x"})
    monkeypatch.setattr(calibrate, "open_sequences", lambda *args: ([names] * 3, {"dataset": "folder"}))
    command.run("calibrate", "--checkpoint", "starter-tiny", "--report-only", "--out", tmp_path)
    written = json.loads((tmp_path / score_report.FILE).read_text())
    options = checkpoint.load("starter-tiny").config["tracker"]
    assert written["tracker"].items() <= {**options, "found_frames": 3}.items() and written["all"]["frames"] == 180
    assert (tmp_path / score_report.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert "lost, but found" in capsys.readouterr().out and np.isfinite(written["all"]["ece"])
    monkeypatch.undo()
    with pytest.raises(UserError, match="--count is 0: give a number of sequences"):
        command.run("calibrate", "--checkpoint", "starter-tiny", "--report-only", "--count", 0)
    with pytest.raises(UserError, match="--adjust is for a fit"):
        command.run("calibrate", "--checkpoint", "starter-tiny", "--report-only", "--adjust")
