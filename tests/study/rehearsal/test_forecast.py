"""The forecast: clips and frames of the real thing over the measured rates, and its disk."""

import pytest

from relo_jax import config as relo_config
from relo_jax.study.rehearsal import forecast

CONFIGS = {stage: relo_config.paper(stage) for stage in ("warmup", "rl")}
RATES = {"warmup": 100.0, "rl": 50.0, "loader": 1_000.0, "evaluation": 10.0}


def rows(rates, checkpoints=None):
    return {row["what"]: row for row in forecast.forecast(CONFIGS, 2, rates, checkpoints or {})["time"]}


def test_the_time_is_that_of_the_papers_clips_and_of_all_frames_of_the_benchmarks():
    found = forecast.forecast(CONFIGS, 2, RATES, {})
    seconds = [row["seconds"] for row in found["time"]]
    assert seconds[0] == pytest.approx(140_625 * 64 / 100) and seconds[1] == pytest.approx(14_063 * 16 / 50)
    assert seconds[2] * 10 == sum(size.amount for size in forecast.benchmark_frames().values()) == 1_885_578
    assert found["seconds"] == pytest.approx(sum(seconds))


def test_a_stage_is_not_faster_than_its_clips_are_read():
    """A clip of the RL stage has 2 + 8 frames, one of the warm-up 2 + 2."""
    slow = rows(RATES | {"loader": 80.0})
    assert (slow["warm-up"]["per_second"], slow["warm-up"]["limited"]) == (80.0, True)
    assert slow["RL stage"]["per_second"] == pytest.approx(80 * 4 / 10) and slow["RL stage"]["limited"]
    assert not rows(RATES | {"loader": 126.0})["RL stage"]["limited"]


def test_without_a_rate_there_is_no_time():
    found = forecast.forecast(CONFIGS, 2, {"loader": 5.0, "rl": 50.0}, {})
    assert [row["seconds"] is None for row in found["time"]] == [True, False, True]
    assert found["seconds"] is None and found["time"][0]["per_second"] is None


def test_the_disk_has_all_kept_checkpoints_and_the_one_that_is_being_written():
    disk = {row["what"]: row for row in forecast.forecast(CONFIGS, 2, RATES, {"warmup": 10**9})["disk"]}
    assert disk["checkpoints, warm-up"]["bytes"] == 4 * 10**9 and "checkpoints, RL stage" not in disk
    assert 2.3e12 < disk["datasets"]["bytes"] < 2.4e12 and "tnl2k and nfs" in disk["datasets"]["why"]


def test_durations_and_sizes_are_in_the_largest_unit():
    texts = {None: "-", 30: "0.5 minutes", 7_200: "2.0 hours", 3 * 86_400: "3.0 days", 1e9: "31.7 years"}
    assert {seconds: forecast.duration(seconds) for seconds in texts} == texts
    assert (forecast.amount(2_345 * 10**9), forecast.amount(10**8)) == ("2.35 TB", "0.1 GB")
