"""The benchmark of the network's two forms runs both, on the same frames, and keeps them apart."""

import json
from types import SimpleNamespace

from benchmarks import common, forms, rows, sections_compiled
from relo_jax.model import inference
from relo_jax.tracking.tracker import Tracker
from tests.model import small


def test_both_forms_track_the_same_frames(excerpts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(forms, "RELO", SimpleNamespace(from_variant=lambda name, **fields: small.small(**fields)))
    monkeypatch.setattr(forms, "init_variables", lambda model, key: small.variables())
    made = []
    monkeypatch.setattr(forms, "Tracker", lambda *args: made.append(Tracker(*args)) or made[-1])
    monkeypatch.setattr("sys.argv", ["forms", "--root", str(excerpts), "--frames", "4"])
    forms.main()
    assert [inference.FOLDED in tracker._engine.variables for tracker in made] == [False, True]
    row = json.loads(capsys.readouterr().out)
    assert row["apart_px"].keys() == {"walk"} and 0 < row["largest_px"] < 0.05
    assert "auc" not in row and row["folded_over_stacked"] > 0
    assert "| random tiny | excerpts | 4 |" in sections_compiled.forms()
