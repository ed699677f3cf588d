"""An exported tracker is evaluated like any other: the same boxes, files and failures."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

from relo_jax.data import miniature
from relo_jax.data.datasets.folder import read_folder
from relo_jax.errors import UserError
from relo_jax.eval.exported import ExportedLockstep
from relo_jax.export.backend import Exported
from tests import command
from tests.export.conftest import exported, model, of_three, ours, source, variables

__all__ = ["exported", "model", "of_three", "ours", "source", "variables"]
LENGTHS = {"pair": 2, "long": 9, "one": 1, "tall": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sequences")
    for seed, (name, frames) in enumerate(LENGTHS.items()):
        boxes = miniature.walk(frames, seed=seed)
        miniature.write_frames(root / name, boxes, "{:04d}.png")
        (root / name / "groundtruth.txt").write_text(miniature.lines(boxes))
    return root


@pytest.mark.parametrize("batch", [1, 3])
def test_the_boxes_are_those_of_the_tracker_and_a_failure_stops_no_other(request, ours, folder, batch):
    checkpoint = Exported(request.getfixturevalue("exported" if batch == 1 else "of_three"))
    options = checkpoint.config["tracker"]

    def broken(index):
        if index == 3:
            raise UserError("0003.png is damaged")
        return sequences[0].read_frame(index)

    sequences = [*read_folder(folder)]
    done = []
    tracked = {
        one.sequence.name: one
        for one in ExportedLockstep(checkpoint.network(options), options).run(
            [*sequences, replace(sequences[0], name="broken", read_frame=broken)], done.append
        )
    }
    assert tracked.pop("broken").failure == "frame 3: 0003.png is damaged"
    assert sum(done) == sum(LENGTHS.values()) + 3
    for sequence in sequences:
        found = tracked[sequence.name]
        ours.init(sequence.read_frame(0), sequence.boxes_xywh[0])
        expected = [sequence.boxes_xywh[0], *(ours.update(sequence.read_frame(k)).box for k in range(1, len(sequence)))]
        np.testing.assert_allclose(found.boxes_xywh, expected, rtol=0, atol=0.05)
        assert found.scores[0] == 1 and (found.seconds > 0).all() and np.isnan(found.evidence).all()


def test_relo_eval_measures_it_and_says_what_computed(exported, folder, tmp_path, capsys):
    evaluate = ["eval", "--checkpoint", exported, "--data-root", folder, "--out", tmp_path / "out"]
    command.run(*evaluate, "--backend=onnxruntime")
    assert "window_power 1 (part of the graphs); update_interval 3" in capsys.readouterr().out
    summary, config = (json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("summary", "config"))
    assert summary["backend"] == config["eval"]["backend"] == "onnxruntime" and summary["precision"] == "float32"
    assert summary["options"]["score_value"] == 0.5 and config["model"]["width"] == 96
    assert len(summary["sequences"]) == len(LENGTHS) and 0 < summary["mean"]["auc"] < 1
    command.run("eval", "--config", tmp_path / "out" / "config.json")  # repeats it: nothing is left to do
    again = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert again.pop("options_from") != summary.pop("options_from") and again == summary
    with pytest.raises(UserError, match="results of another tracker .backend was onnxruntime, is openvino."):
        pytest.importorskip("openvino")
        command.run(*evaluate, "--backend=openvino")
    with pytest.raises(UserError, match="window_power is 3, but the graphs of"):
        command.run(*evaluate, "--backend=onnxruntime", "--window-power=3")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.eval.backend=tensorrt"], "there is no backend 'tensorrt'"),
        (["--precision=int8"], "precision int8 is of exported graphs"),
        (["--backend=openvino", "--dtype=bfloat16"], "dtype bfloat16 is for the backend jax"),
    ],
)
def test_a_backend_and_a_precision_that_do_not_go_together_are_refused(folder, flags, message):
    with pytest.raises(UserError, match=message):
        command.run("eval", "--data-root", folder, *flags)
