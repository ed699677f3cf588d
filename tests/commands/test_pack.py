"""`relo pack`: it lists every problem and reports skipped checks."""

import pytest

from relo_jax.commands import main
from relo_jax.data import miniature
from tests.eval.results.test_pack import FRAMES, GOT10K, write_got10k


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of GOT-10k's test split, with no datasets on this machine."""
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return write_got10k(tmp_path / "results")


def test_every_problem_is_listed(results, tmp_path, capsys):
    (results / f"{GOT10K[5]}.txt").write_text("nan,1,2,3\n" * FRAMES)
    (results / "GOT-10k_Val_000001.txt").write_text("1,1,2,3\n" * FRAMES)
    for name in GOT10K[100:150]:
        (results / f"{name}.txt").unlink()
        (results / f"{name}_time.txt").unlink()
        (results / f"{name}_score.txt").unlink()
    assert main.main(["pack", "got10k", str(results), "--out", "a.zip"]) == 1
    out, err = capsys.readouterr()
    assert err == "relo: a.zip was not written: 52 files of GOT-10k's test split missing or wrong\n"
    assert out.splitlines()[0].endswith(
        "a result has a box in every frame; where the target is lost, repeat the last one"
    )
    assert len(out.splitlines()) == 21 and out.endswith("and 32 more\n")


def test_it_says_what_was_not_checked(results, tmp_path, monkeypatch, capsys):
    assert main.main(["pack", "got10k", str(results), "--out", "a.zip"]) == 0
    assert capsys.readouterr().out == (
        f"180 sequences, {180 * FRAMES:,} boxes; whole-number boxes: truncated, as those behind published numbers\n"
        "the number of frames was checked for 0 of them: give --data-root to check all\n"
        "written to a.zip, for http://got-10k.aitestunion.com\n"
    )
    assert main.main(["pack", "got10k", str(results), "--out", "a.zip", "--float-boxes"]) == 0
    assert f"{180 * FRAMES:,} boxes; float boxes: " in capsys.readouterr().out
    miniature.got10k(tmp_path / "GOT-10k")
    monkeypatch.setenv("RELO_DATA_DIR", str(tmp_path))
    assert main.main(["pack", "got10k", str(results), "--out", "a.zip"]) == 0
    assert "checked for 2 of them" in capsys.readouterr().out
    monkeypatch.setenv("RELO_DATA_DIR", str(results))
    assert main.main(["pack", "got10k", str(results), "--out", "a.zip"]) == 0
    assert capsys.readouterr().out.startswith("not checked against the frames: ")
