"""The exported folder: what is in it, what is refused, and that it is there whole or not at all."""

import functools
import hashlib
import json

import pytest

pytest.importorskip("onnx", reason="needs the extra `export`")
pytest.importorskip("onnxruntime", reason="needs the extra `export`")

import numpy as np

from relo_jax.errors import UserError
from relo_jax.export import onnx_files, parity, write
from relo_jax.model import RELO
from tests.export.weights import CALIBRATION, SMALL, random_source


@functools.cache
def source(seed=0):
    return random_source(RELO.from_variant("tiny", **SMALL), CALIBRATION, seed)


@pytest.fixture(scope="module", autouse=True)
def recorded_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "record", functools.cache(parity.record))
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "out"
    return out, write.export(source(), out, ["int8"])


def test_a_folder_has_the_graphs_their_hashes_a_driver_and_what_to_check_with(exported):
    out, described = exported
    assert json.loads((out / "tracker.json").read_text()) == described
    names = {"step.onnx", "step.int8.onnx", "template.onnx"}
    assert {path.name for path in out.iterdir()} == names | {"tracker.json", "parity.npz", "relo_track.py", "README.md"}
    assert list(described["graphs"]) == ["float32", "int8"]
    files = {
        e["file"]: e["sha256"] for graph in described["graphs"].values() for e in (graph["step"], graph["template"])
    }
    assert files == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
    assert described["state"] == {"tokens": [2, 1, 2, 32], "reference": [1, 32]}
    with np.load(out / "parity.npz") as recorded:
        assert recorded["search"].shape == (6, 1, 64, 64, 3) and recorded["tokens"].shape == (7, 2, 1, 2, 32)
    page = (out / "README.md").read_text()
    assert "step.int8.onnx" in page and "python relo_track.py VIDEO --box X,Y,W,H --save out.mp4" in page


def test_a_folder_that_is_there_stays_as_it_is_and_the_line_says_whose_it_is(exported, tmp_path):
    out, _ = exported
    with pytest.raises(UserError, match="exists already, with this checkpoint: give another name, or remove it"):
        write.export(source(), out)
    with pytest.raises(UserError, match="has the files of another checkpoint, random"):
        write.export(source(seed=1), out)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already: give another name"):
        write.export(source(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    other = functools.partial(onnx_files.write_step, source(seed=1))
    monkeypatch.setattr(onnx_files, "write_step", lambda source, *args: other(*args))
    with pytest.raises(UserError, match=r"out is not written: in float32, \w+ of the graph is [\d.]+ off"):
        write.export(source(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_an_export_that_was_interrupted(tmp_path):
    def interrupt(folder, described):
        assert (folder / "tracker.json").is_file()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write.export(source(), tmp_path / "out", additions=[interrupt])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (dict(precisions=["float61"]), r"onnx has no precision 'float61' \(did you mean 'float16'\?\)$"),
        (dict(precisions=["fp16"]), r"onnx has no precision 'fp16' \(known: float32, float16, int8\)$"),
        (
            dict(precisions=["int8"], form="stablehlo"),
            r"stablehlo has no precision 'int8' \(known: float32, bfloat16\)$",
        ),
        (dict(batch=0), "batch is 0"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(arguments, line, tmp_path):
    with pytest.raises(UserError, match=line):
        write.export(source(), tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())
