"""`relo export`: what it says and refuses. The folders are tested in tests/export/."""

import numpy as np
import pytest

from relo_jax.commands import export
from relo_jax.errors import UserError
from tests.command import run


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--format", "stablehlo", "--web"], "--web is for ONNX graphs: leave out --format stablehlo"),
        (["--format", "stablehlo", "--auc", "lasot"], "--auc is for ONNX graphs"),
        (["--no-webgpu"], "give --web as well"),
    ],
)
def test_flags_that_contradict_each_other_are_one_line_and_write_nothing(flags, line, tmp_path):
    with pytest.raises(UserError, match=line):
        run("export", "starter-tiny", tmp_path / "out", *flags)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("int8", "gains"), [(8.0, True), (9.8, False)])
def test_a_processor_that_gains_nothing_from_int8_is_told(int8, gains, tmp_path, monkeypatch):
    precision = pytest.importorskip("relo_jax.export.precision", reason="needs the extra `export`")
    np.savez(tmp_path / "parity.npz", search=np.zeros((2, 1)))
    monkeypatch.setattr(precision, "processor_ms", lambda paths, inputs: {"float32": 10.0, "int8": int8})
    graphs = {name: {"step": {"file": f"step.{name}.onnx"}} for name in ("float32", "int8")}
    line = export._what_int8_gains(tmp_path, graphs)
    assert line.startswith(f"int8: {int8:.1f} ms of processor time a step here, float32 10.0")
    assert ("gains nothing from int8" not in line) == gains
