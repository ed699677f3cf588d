"""The benchmark beside PyTorch measures both forms and the peers in one run."""

import json
import os
from types import SimpleNamespace

from benchmarks import common, peer, rows, sections_compiled
from tests.model import small


def test_all_are_measured_in_one_run_and_compared(tmp_path, monkeypatch, capsys):
    for module in (common, rows):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(peer, "RELO", SimpleNamespace(from_variant=lambda name: small.small()))
    monkeypatch.setattr(peer, "init_variables", lambda model, key: small.variables())
    monkeypatch.setattr(os, "sched_setaffinity", lambda *args: None)  # the other tests need all cores
    calls = {"eager": [], "compile": []}
    monkeypatch.setattr(
        peer,
        "peers",
        lambda model, cores: {name: lambda found=found: found.append(cores) for name, found in calls.items()},
    )
    monkeypatch.setattr("sys.argv", ["peer", "--repeats", "2", "--cores", "1"])
    peer.main()
    row = json.loads(capsys.readouterr().out)
    assert calls["eager"] == calls["compile"] and set(calls["eager"]) == {1}
    assert row["folded_over_stacked"] == round(row["folded_ms"]["median"] / row["stacked_ms"]["median"], 3)
    assert "| tiny | 1 |" in sections_compiled.peer()
