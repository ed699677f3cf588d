"""A continued warm-up is compared with the steps that were done before the kill."""

import types

import pytest

from relo_jax.study.rehearsal.processes import StepFailed
from relo_jax.study.rehearsal.training import compare, rate, rows_of

PLAN = types.SimpleNamespace(steps=6, kill_after=2)


def rows(last, **changes):
    return [
        {"step": k, "loss": 1.0 / k, "clips_per_second": 2.0 * k, **changes.get(f"s{k}", {})}
        for k in range(1, last + 1)
    ]


def test_the_same_numbers_are_said_to_be_the_same_whatever_the_speed():
    after = rows(6, s3={"clips_per_second": 99.0})
    assert compare(rows(4), after, PLAN) == "steps 3 to 4 repeated with the same numbers"
    assert compare(rows(3), after, PLAN) == "step 3 repeated with the same numbers"


def test_a_difference_in_the_last_digits_is_named_and_a_large_one_fails():
    assert compare(rows(3), rows(6, s3={"loss": 1 / 3 + 1e-7}), PLAN) == "step 3 repeated equal to within 3e-07"
    with pytest.raises(StepFailed, match="step 3: loss was 0.333.* before the kill and 0.34 after"):
        compare(rows(3), rows(6, s3={"loss": 0.34}), PLAN)
    with pytest.raises(StepFailed, match="loss was nan"):
        compare(rows(3, s3={"loss": float("nan")}), rows(6), PLAN)


def test_a_lost_or_double_step_fails():
    for wrong in (rows(5), [*rows(6), {"step": 6, "loss": 1.0}]):
        with pytest.raises(StepFailed, match="not each from 1 to 6 once"):
            compare(rows(3), wrong, PLAN)


def test_half_a_line_is_not_read_and_the_first_step_is_not_timed(tmp_path):
    text = (
        '{"step": 1, "clips_per_second": 0.1}\n{"step": 2, "clips_per_second": 4.0}\n{"step": 2, "split": "eval"}\n{"st'
    )
    (tmp_path / "metrics.jsonl").write_text(text)
    assert [row["step"] for row in rows_of(tmp_path / "metrics.jsonl")] == [1, 2]
    assert rate(tmp_path) == 4.0
    assert rows_of(tmp_path / "none") == []
