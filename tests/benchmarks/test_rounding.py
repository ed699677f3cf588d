"""The benchmark of rounding compares dtypes from the same states, and tells chance from effect."""

import json

import numpy as np

from benchmarks import common, rounding, rows, sections_compiled
from relo_jax.tracking.tracker import Tracker
from tests.model import small


def test_bfloat16_is_compared_step_by_step_and_with_noise(excerpts, tmp_path, monkeypatch, capsys):
    for module in (common, rows):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(Tracker, "_load", lambda *args: (small.small(), small.variables(), {}))
    made = []

    class Kept(Tracker):
        def __init__(self, model, variables, *rest, **options):
            made.append((model.config.dtype, variables["params"]["encoder"]["pos_embed"]))
            super().__init__(model, variables, *rest, **options)

    monkeypatch.setattr(rounding, "Tracker", Kept)
    monkeypatch.setattr("sys.argv", ["rounding", "--root", str(excerpts), "--seeds", "1", "--noise", "0.01"])
    rounding.main()
    row = json.loads(capsys.readouterr().out)
    assert 0 < row["step"]["size"] < 0.02 and abs(row["step"]["size_bias"]) <= row["step"]["size"]
    assert 0 < row["step"]["offset_cells"] < 0.02
    (wide, exact), (narrow, same), (noisy, other) = made
    assert (wide, narrow, noisy) == ("float32", "bfloat16", "float32") and same is exact
    assert 0.009 < np.std(other / exact) < 0.011
    assert row["auc_by_sequence"]["walk"].keys() == {"float32", "bfloat16", "noise 0"}
    assert "| starter | excerpts |" in sections_compiled.rounding()
