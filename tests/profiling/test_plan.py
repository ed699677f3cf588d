"""`relo plan`: what a run costs on devices that are not there, from programs that the fixtures stand in for."""

import json

import jax
import pytest

from relo_jax import config as relo_config
from relo_jax.profiling import plan
from relo_jax.profiling.compiled import compiling, launches, targets
from tests.model.small import SMALL


@pytest.fixture
def config():
    config = relo_config.paper("rl")
    config.model.update({"variant": "tiny", **SMALL})
    config.batch_size, config.total_steps = 8, 1_000_000_000
    return config


@pytest.fixture
def compiler(fixtures, monkeypatch):
    """Devices of this machine, and a compiler that makes the fixture's program of whatever it gets."""
    efforts = []

    def compile_for(target, program, effort=0.0):
        efforts.append(effort)
        text = (fixtures / "compiled" / f"{target.chip}.hlo").read_text()
        found = launches.Launches(3, 4, 1) if target.platform == "gpu" else None
        return compiling.Compiled(text, 2**30, 2**31, 17 * 2**30, found, 65.0)

    monkeypatch.setattr(plan, "compile_for", compile_for)
    monkeypatch.setattr(plan, "devices", lambda target: jax.devices())
    return efforts


def test_the_schedule_follows_from_the_roofline_and_the_table_says_what_limits_it(config, compiler):
    row = plan.training(config, targets.parse("v5e:2x4"), fast=True, kernels=2)
    seconds, schedule = row["roofline_ms"] / 1e3, row["schedule"]
    assert row["chips"] == 8 and row["mesh"] == {"data": 8, "frames": 1} and row["hosts"] == 1
    assert schedule["clips_per_second"] == pytest.approx(8 / seconds, rel=1e-3)
    assert schedule["hours"] == pytest.approx(1e9 * seconds / 3600, rel=1e-2)
    assert schedule["chip_hours"] == pytest.approx(8 * 1e9 * seconds / 3600, rel=1e-2)
    assert row["fits"] is False and compiler == [-1.0] and json.dumps(row)
    text = plan.training_table(row)
    assert "rl of tiny, float32: 8 clips of 8 frames\non 8 x TPU v5e (v5e:2x4), mesh data 8 x frames 1" in text
    assert "17.00 GiB a chip of 16 GiB: DOES NOT FIT" in text
    assert "9 all-reduce, 0.20 MB; 6 below 8 KiB" in text and "7 collectives that wait for each other" in text
    assert "limited by collectives" in text and "1,000,000,000 steps: at least" in text
    assert text.count(" GFLOP  ") == 2 and "launches" not in text
    small = plan.training_table({**row, "fits": True, "collectives": {}, "launches": vars(launches.Launches(3, 4, 1))})
    assert "of 16 GiB: fits" in small and "3 of CUDA graphs, 4 outside them; loops that the host drives: 1" in small
    assert "collectives  none" in small


def test_tracking_has_a_frame_and_many_videos(config, compiler):
    rows = plan.tracking(config, targets.parse("h100"))
    assert rows[0]["launches"] == {"graphs": 3, "outside": 4, "loops": 1} and compiler == [0.0, 0.0]
    assert [row["videos"] for row in rows] == [1, plan.VIDEOS] and all(row["chips"] == 1 for row in rows)
    assert rows[1]["frames_per_second"] == pytest.approx(plan.VIDEOS * rows[0]["frames_per_second"], rel=1e-3)
    text = plan.tracking_table(rows)
    assert "a frame of 640x480" in text and "a search region of each of 64 videos" in text
    assert "at most" in text and "collectives" not in text
