"""`relo eval`: the table, the exit, and where the data and the results are."""

from pathlib import Path

import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert
from relo_jax.data import miniature
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, runner
from relo_jax.model import RELO
from tests import command
from tests.golden import FIELDS


@pytest.fixture
def loaded(fixtures, tmp_path, monkeypatch):
    """A small model in the place of every checkpoint, and an empty folder to work in."""
    model = RELO.from_variant("tiny", **FIELDS)
    loaded = checkpoint.Loaded(model, convert.from_torch(fixtures / "relo_tiny.pth.tar", model), {"tracker": {}})
    monkeypatch.setattr(runner.checkpoints, "load", lambda path, dtype: loaded)
    monkeypatch.chdir(tmp_path)
    return loaded


@pytest.fixture
def small(tmp_path):
    """Two sequences, of 2 and 6 frames."""
    for name, frames in (("pair", 2), ("tall", 6)):
        boxes = miniature.walk(frames)
        miniature.write_frames(tmp_path / "small" / name, boxes, "{:04d}.jpg")
        (tmp_path / "small" / name / "groundtruth.txt").write_text(miniature.lines(boxes))
    return tmp_path / "small"


def test_it_prints_the_table_and_fails_if_a_sequence_does(loaded, small, capsys):
    image = small / "tall" / "0003.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:50])
    with pytest.raises(UserError, match="1 of 2 sequences failed, the first: tall: frame 2: .*0003.jpg"):
        command.run("eval", "--checkpoint=runs/demo", "--data-root", small, "--batch=1")
    printed = capsys.readouterr().out
    assert "mean of 1" in printed and "tall  " in printed and "written to results/demo/small" in printed
    image.write_bytes(whole)
    command.run("eval", "--checkpoint=runs/demo", "--data-root", small, "--batch=1")  # runs the one that failed
    assert "mean of 2" in capsys.readouterr().out
    assert sorted(p.name for p in Path("results/demo/small").glob("*.txt")) == [
        "pair.txt", "pair_score.txt", "pair_time.txt", "tall.txt", "tall_score.txt", "tall_time.txt",
    ]  # fmt: skip


def test_different_numbers_of_boxes_and_frames_stop_it_before_anything_is_written(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (small / "tall" / "0006.jpg").unlink()
    with pytest.raises(UserError, match="6 boxes for 5 frames"):
        command.run("eval", "--data-root", small)
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


def test_it_evaluates_held_out_procedural_sequences(loaded, monkeypatch):
    asked = []
    monkeypatch.setattr(benchmarks, "heldout", lambda seed, count, options: asked.append((seed, count)) or "abc")
    monkeypatch.setattr(runner, "evaluate", lambda *args, **options: asked.append(args) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.run("eval", "--checkpoint=runs/demo/checkpoints/500", "--dataset=procedural", "--count=3", "--seed=7")
    seeds, (benchmark, tracker, out) = asked
    assert seeds == (7, 3) and "".join(benchmark) == "abc" and tracker is loaded
    assert out == Path("results") / "demo-500" / "procedural-7"


def test_the_data_root_may_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    with pytest.raises(UserError, match="--data-root"):
        command.run("eval")
    monkeypatch.setenv("RELO_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere: no such folder"):
        command.run("eval")
