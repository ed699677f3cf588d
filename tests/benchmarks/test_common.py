"""Rows of results: they name no folder of the machine that measured."""

import json

import pytest

from benchmarks import common


@pytest.mark.parametrize(
    ("arguments", "recorded"),
    [
        (["--root", "/data/videos/otb_mini"], "--root otb_mini"),
        (["--root=../videos/otb_mini/", "--repeats=3"], "--root=otb_mini --repeats=3"),
        (["--checkpoint", "runs/demo", "--variant", "t256"], "--checkpoint runs/demo --variant t256"),
        ([], ""),
    ],
)
def test_a_row_names_its_command_without_the_machines_folders(arguments, recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["x", *arguments])
    common.record("edge", {"ms": 1})
    row = json.loads((tmp_path / "edge.jsonl").read_text())
    assert row["command"] == f"python -m benchmarks.edge {recorded}".strip() and row["ms"] == 1


def test_no_row_that_was_recorded_names_one():
    for file in common.RESULTS.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            words = json.loads(line).get("command", "").replace("=", " ").split()
            assert not [word for word in words if word.startswith(("/", ".."))], file.name
