"""The tool of `make mutants`: what it changes, when a change counts as noticed, and the list of those that do not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mutmut", reason="make mutants installs requirements-mutants.txt")
from tests.mutants import run  # noqa: E402

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks/results/mutants.jsonl"
CODE = """
import json, sys
from pathlib import Path
from tests.mutants.trials import Trial, outcomes

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
values = {"the same": "2 * x", "another number": "3 * x", "endless": "[0 for _ in iter(int, 1)]", "unused": "2 * x"}
source = "def double(x):\\n    return {}  # {}\\n"
trials = [
    Trial("absent" if name == "unused" else "tiny", source.format(value, name), folder / "test_tiny.py", 1)
    for name, value in values.items()
]
print(json.dumps({trial.source.split("# ")[1].strip(): [o.result, o.test] for trial, o in outcomes(trials, folder, 2)}))
"""
TESTS = """
import tiny

def test_of_nothing():
    assert tiny

def test_double():
    assert tiny.double(2) == 4
"""


def test_a_change_is_noticed_by_a_test_that_fails_or_never_ends(tmp_path):
    (tmp_path / "tiny.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "test_tiny.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # tests are named from here, wherever the repository lies
    done = subprocess.run([sys.executable, "-c", CODE, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found.pop("another number") == ["failed", "test_tiny.py::test_double"]
    assert {name: result for name, (result, _) in found.items()} == {
        "the same": "passed", "endless": "too slow", "unused": "unused",
    }  # fmt: skip
    assert (tmp_path / "tiny.py").read_text() == "def double(x):\n    return 2 * x\n"


def test_a_module_is_changed_in_one_place_at_a_time():
    pytest.importorskip("mutmut", reason="make mutants installs it")
    from tests.mutants.mutants import mutants

    source = 'Boxes = Real[Array, "4"]\n\n\ndef best(x: Float[Array, "N 4"], axis: int = -1):\n'
    source += '    """Not 1."""\n    return x.max(axis=axis) > 0.5\n'
    assert [(mutant.line, mutant.after.removeprefix("return ")) for mutant in mutants(source)] == [
        (4, 'def best(x: Float[Array, "N 4"], axis: int = +1):'),
        (4, 'def best(x: Float[Array, "N 4"], axis: int = -2):'),
        (4, 'def best(x: Float[Array, "N 4"], axis: int = -0):'),
        (6, "x.min(axis=axis) > 0.5"),
        (6, "x.max(axis=axis) >= 0.5"),
        (6, "x.max(axis=axis) > 1.5"),
        (6, "x.max(axis=axis) > 0.45"),
    ]


def test_the_mutants_that_are_not_noticed_are_of_lines_that_exist():
    sources = {module: run.paths(module)[0].read_text().split() for module in run.MODULES}
    for (module, before, after), why in run.known().items():
        assert " ".join(before.split()) in " ".join(sources[module]), f"{module}: {before}"
        assert before != after and why


def test_what_nobody_explained_and_what_explains_nothing_is_reported(monkeypatch):
    row = {"module": "mdp/reward", "line": 1, "before": "a", "after": "b", "result": "passed"}
    monkeypatch.setattr(run, "known", lambda: {("mdp/reward", "a", "c"): "", ("mdp/reward", "a", "d"): ""})
    rows = [row, row | {"after": "c"}, row | {"after": "d", "result": "failed"}]
    assert run.table(run.counts(rows))[-1] == ["all", "3", "2", "1", "100.0 %"]
    (unknown, known) = run.complaints(rows, is_complete=True)
    assert unknown.startswith("relo_jax/mdp/reward.py:1") and "'d') is noticed" in known
    assert "'d') is no mutant" in run.complaints(rows[:2], is_complete=True)[1]


@pytest.mark.skipif(not RECORDED.exists(), reason="the modules.jsonl of a full run was not copied there yet")
def test_the_page_has_the_share_of_each_module():
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    page = (ROOT / "docs/reliability.md").read_text()
    for line in run.table(rows):
        assert f"| {' | '.join(line)} |" in page
    assert [row["module"] for row in rows] == [*run.MODULES, "all"]
