"""Counting the clips that were read, and the failures among them."""

import numpy as np
import pytest

from relo_jax.data.clips.failures import ReadFailures
from relo_jax.data.clips.source import write_note
from relo_jax.errors import UserError


def batch(failed, datasets=None, why=("coco", "missing frame", "a.jpg")):
    failed = np.array(failed, np.int32)
    notes = np.stack([write_note([why] * int(n)) for n in failed])
    return np.zeros(len(failed), np.int32) if datasets is None else np.array(datasets), failed, notes


def test_the_report_counts_clips_by_dataset_and_failures_by_reason():
    failures = ReadFailures(["coco", "lasot"])
    failures.add(*batch([0, 2, 0], [0, 1, 1]))
    failures.add(*batch([1], [0], ("lasot", "undecodable image", "b.jpg")))
    line = failures.report("epoch 1")
    assert line == (
        "epoch 1: 4 clips (coco 2, lasot 2); 3 replaced: coco: 2 missing frame (a.jpg); "
        "lasot: 1 undecodable image (b.jpg)"
    )
    assert failures.report("epoch 2") == "epoch 2: 0 clips (), none replaced"


def test_the_report_names_a_few_files_and_marks_that_there_are_more():
    failures = ReadFailures(["coco"])
    for k in range(9):
        failures.add(*batch([1], [0], ("coco", "missing frame", f"{k}.jpg")))
    assert failures.report("all").endswith("9 missing frame (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, ...)")


def test_more_than_one_failure_in_a_hundred_clips_is_an_error_that_lists_them():
    failures = ReadFailures(["coco"])
    for _ in range(10):
        failures.add(*batch([1, *[0] * 99]))
    with pytest.raises(UserError, match=r"1\.\d% of the clips could not be read.*coco: 11 missing frame \(a\.jpg"):
        failures.add(*batch([1]))
    allowed = ReadFailures(["coco"])
    for _ in range(30):
        allowed.add(*batch([1, *[0] * 99]))  # exactly 1 % is allowed


def test_failures_that_do_not_fit_into_a_note_are_counted():
    failures = ReadFailures(["coco"])
    dataset, failed, note = batch([1])
    failures.add(dataset, np.array([5]), note)
    assert failures.failed.total() == 5
