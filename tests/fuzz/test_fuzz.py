"""Readers survive mutations of the corpus: nothing but a UserError of one line, ten seconds and a gigabyte an input.

`make fuzz` does the same for minutes, guided by coverage.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from relo_jax.errors import UserError
from tests.fuzz import run
from tests.fuzz.mutate import mutations
from tests.fuzz.targets import CORPUS, TARGETS, Target, check

ROOT = Path(__file__).parents[2]


def test_mutations_of_the_corpus_are_read_or_refused(tmp_path):
    command = [sys.executable, "-m", "tests.fuzz.one", "all", "--cases", "60", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{[path.name for path in tmp_path.iterdir()]}: {done.stderr[-3000:]}"
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(TARGETS)
    assert list(tmp_path.iterdir()) == []


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 400_000


def test_mutations_are_the_same_for_a_seed_and_differ():
    first, again, other = (list(mutations([b"a" * 50, b"12,3"], 200, seed)) for seed in (0, 0, 1))
    assert first == again != other and len(set(first)) > 150


@pytest.mark.parametrize("error", [ValueError("a"), UserError("two\nlines"), UserError("x" * 3000), MemoryError()])
def test_what_is_no_short_line_is_a_defect(tmp_path, error):
    def fail(path):
        raise error

    with pytest.raises((AssertionError, ValueError, MemoryError)):
        check(Target(fail, ".txt", ()), tmp_path / "input.txt")


@pytest.mark.parametrize("status", [1, -11])
def test_a_target_that_ends_without_a_finding_is_one(tmp_path, monkeypatch, status):
    """A process that dies of a signal may leave no input behind."""
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: subprocess.CompletedProcess([], status))
    row = run.fuzz("boxes", 5, tmp_path)
    assert len(row["findings"]) == 5 and row["executions"] == 0
