"""`relo reproduce --efficiency`: the paper's cost and this machine's side by side, in print, JSON and Markdown."""

import functools
import json

import jax
import pytest

from relo_jax.config import published_tables as paper
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.profiling import efficiency

SPEED = {"compile_seconds": 3.25, "ms_a_frame": 125.0, "frames_per_second": 8.0}
count = functools.cache(efficiency.count)


@pytest.fixture
def measured(monkeypatch):
    """No model is compiled, and each is counted once; returns what was measured with."""
    monkeypatch.setattr(efficiency, "count", count)
    calls = []

    def speed(model, *how):
        calls.append((model.config.variant, model.config.dtype, *how))
        return SPEED

    monkeypatch.setattr(efficiency, "speed", speed)
    return calls


def cells(text, label):
    """What stands behind a label in the terminal's table, in each line that begins with it."""
    return [line.strip()[len(label) :].split() for line in text.splitlines() if line.strip().startswith(f"{label} ")]


def test_the_papers_cost_and_this_machines_are_side_by_side(measured, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    efficiency.measure(["t256", "tiny"], "bfloat16", 4, 240, 320, out=out)
    assert measured == [("t256", "bfloat16", 4, 240, 320), ("tiny", "bfloat16", 4, 240, 320)]
    printed = capsys.readouterr().out
    assert cells(printed, "paper")[0] == ["22", "-"]
    assert cells(printed, "paper, as FLOPs") == [["8", "-"]]
    assert cells(printed, "paper, NVIDIA RTX 4090") == [["91", "-"]]
    assert [row[0] for row in cells(printed, "called layers, encoder and regression")] == ["22.3", "7.6"]
    assert [row[0] for row in cells(printed, "release: all that tracks")] == ["29.0"]
    assert [row[0] for row in cells(printed, "release, all that it computes")] == ["10.9"]
    assert [row[0] for row in cells(printed, "relo_jax, all that it computes")] == ["9.4"]
    assert cells(printed, "here, bfloat16") == [["8.0", "8.0"]]
    content = json.loads((out / "efficiency.json").read_text())
    assert content["variants"]["t256"]["measured"] == SPEED and content["variants"]["t256"]["tracker_multiply_adds"]
    machine = content["session"]["machine"]
    assert {"date", "code", "packages"} <= set(content["session"]) and machine["cores"] >= 1
    assert "machine" not in content and machine["device"].startswith("cpu")
    page = (out / "efficiency.md").read_text()
    assert page == efficiency.markdown(content) and "| here, bfloat16 | 8.0 | 8.0 |" in page
    assert machine["processor"] in page and content["session"]["date"] in page


def test_this_machine_stands_among_edge_devices_if_t256_was_measured(measured, tmp_path, capsys):
    efficiency.measure(["tiny"], "bfloat16", frames=1, out=tmp_path)
    assert cells(capsys.readouterr().out, "RELO-T256")[0][-3:] == ["21", "32", "-"]
    content = json.loads((tmp_path / "efficiency.json").read_text())
    content["variants"] = {"t256": content["variants"]["tiny"]}
    text = efficiency.table(content)
    assert cells(text, "RELO-T256") == [["70.4", "51.1", "83.6", "75.6", "21", "32", "8.0"]]
    assert cells(text, "MixFormerV2-S") == [["60.6", "43.6", "75.8", "-", "47", "70", "-"]]
    assert len(paper.EDGE) == 4 == sum(any(line.startswith(name) for name in paper.EDGE) for line in text.splitlines())


def test_what_was_measured_survives_a_stop(measured, tmp_path, monkeypatch):
    def stop(model, *how):
        if model.config.variant == "mini":
            raise KeyboardInterrupt
        return SPEED

    monkeypatch.setattr(efficiency, "speed", stop)
    with pytest.raises(KeyboardInterrupt):
        efficiency.measure(["tiny", "mini"], "bfloat16", out=tmp_path)
    assert list(json.loads((tmp_path / "efficiency.json").read_text())["variants"]) == ["tiny"]


def test_the_speed_is_the_median_of_frames_after_the_warm_up(monkeypatch):
    frames = []
    monkeypatch.setattr(efficiency, "init_variables", lambda *_: {})
    monkeypatch.setattr(efficiency.frame, "online", lambda *how: (None, lambda: frames.append(how[2:]), 1.5))
    row = efficiency.speed(RELO.from_variant("tiny", depth=1), 5, 240, 320)
    assert frames == [(240, 320)] * 7 and row["compile_seconds"] == 1.5
    assert set(row) == set(SPEED)


def test_a_variant_that_does_not_fit_is_one_line(monkeypatch):
    def full(*how):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1.2GiB")

    monkeypatch.setattr(efficiency, "init_variables", full)
    with pytest.raises(UserError, match="tiny does not fit into the memory of cpu: cpu: give another --variant"):
        efficiency.speed(RELO.from_variant("tiny"), 1, 240, 320)


def test_mistakes_are_named_before_anything_is_measured(measured, tmp_path):
    with pytest.raises(UserError, match=r"unknown variant 'b265' \(did you mean 'b256'"):
        efficiency.measure(["tiny", "b265"], out=tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/b cannot be made: Not a directory"):
        efficiency.measure(["tiny"], out=tmp_path / "file" / "b")
    assert not measured and not (tmp_path / "a").exists()
