"""`relo profile data`: the cost of every stage of a clip, and whether training waits for clips."""

import json
import time
from types import SimpleNamespace

import pytest

from relo_jax.commands import main as cli
from relo_jax.config.data_options import ClipOptions
from relo_jax.data import miniature
from relo_jax.data.clips import read
from relo_jax.data.clips.source import ClipSource, MixturePart
from relo_jax.data.datasets.folder import read_folder
from relo_jax.profiling import clip

SMALL = [
    "--config.model.variant=tiny", "--config.model.width=32", "--config.model.depth=1", "--config.model.heads=1",
    "--config.model.head_width=16", "--config.model.search_size=64", "--config.model.template_size=32",
    "--config.model.temporal_tokens=1", "--config.batch_size=8", "--config.data.workers=1",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    miniature.lasot(tmp_path / "LaSOT")
    return tmp_path / "LaSOT" / "airplane"


def test_the_command_prints_stages_pipeline_and_waiting(folder, tmp_path, capsys):
    data = ["--config.data.name=folder", f"--config.data.root={folder}", f"--json={tmp_path / 'out.json'}"]
    config = "--config=configs/relo_tiny.py:warmup"
    assert cli.main(["profile", "data", config, *SMALL, *data, "--clips=16", "--steps=0"]) == 0
    printed = capsys.readouterr().out
    row = json.loads((tmp_path / "out.json").read_text())
    assert list(row["stage_ms_a_clip"]) == ["plan", "read", "decode", "crop", "augment", "batch", "transfer"]
    assert all(f"{name} " in printed for name in row["stage_ms_a_clip"])
    assert row["pipeline_clips_per_second"] > 0 and row["training"] is None


def test_a_slow_stage_shows_in_its_own_line(folder, monkeypatch):
    source = ClipSource([MixturePart("folder", read_folder(folder))], ClipOptions(1, 2, 16, 32), 0)
    slow = read.decode_frame
    monkeypatch.setattr(read, "decode_frame", lambda *a, **o: time.sleep(0.01) or slow(*a, **o))
    seconds = clip.stages(source, 4, 4)
    assert seconds["decode"] > 0.6 * sum(seconds.values())


@pytest.mark.parametrize(("reading", "share"), [(0.03, 2 / 3), (0.0, 0.0)])
def test_waiting_is_the_extra_time_of_a_fed_step(reading, share, monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(clip, "time", clock)

    def passes(seconds):
        clock.now += seconds
        return 1

    row = clip.waiting(lambda batch: passes(0.015), iter(lambda: passes(reading), 0), 8, 2)
    assert row["step_ms"] == pytest.approx(15.0) and row["waiting_share"] == pytest.approx(share)
    assert "of it is waiting" in clip.table(
        {"stage_ms_a_clip": {"read": 100.0}, "pipeline_clips_per_second": 10.0, "training": row}
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["data", "--clips=0"], "--clips is at least 1"),
        (["data"], "--config is missing"),
        (["data", "--config=a.py", "--dtype=bfloat16"], "relo profile data: --dtype belongs to relo profile"),
        (["data", "--config=no.py"], "no.py"),
    ],
)
def test_a_mistake_is_one_line(argv, words, capsys):
    assert cli.main(["profile", *argv]) == 1
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
