"""Killed commands, run again, leave what they would have left; a damaged checkpoint is one line, or read as written.

`make kill` does the same for all commands and all files.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from relo_jax.checkpoints import load
from relo_jax.errors import UserError
from relo_jax.media.video import write_video
from tests.kill import compare, damage, processes, run
from tests.kill.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


def test_killed_commands_continue_equal(tmp_path):
    command = [sys.executable, "-m", "tests.kill.run", "--only", "pack", "--points", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    rows = json.loads((tmp_path / "kills.json").read_text())
    assert [row["differences"] for row in rows] == [[], []] and any(row["was_killed"] for row in rows)


def test_the_page_has_the_kills_that_were_run():
    rows = [json.loads(line) for line in (ROOT / "benchmarks/results/kills.jsonl").read_text().splitlines()]
    page = (ROOT / "docs/reliability.md").read_text()
    for line in run.table(rows):
        assert f"| {' | '.join(line)} |" in page
    kills = sum(row["was_killed"] for row in rows)
    equal = sum(row["was_killed"] and not row["differences"] for row in rows)
    assert f"**{kills} kills of {len(SCENARIOS)} commands; {equal} continued equal" in page
    assert {row["scenario"] for row in rows} == set(SCENARIOS)


CODE = """
import os, sys, time
from pathlib import Path
from relo_jax.commands import main
from relo_jax.files import atomic_write
from tests.kill import processes

def work(argv):
    with atomic_write("a.txt") as file:
        file.write_text("whole")
    Path("b.txt").write_text("b")
    time.sleep(60 if "wait" in argv else 0)
    return 0

main.main = work
folder = Path(sys.argv[1])
at = {"rename": processes.Operation("rename a.txt"), "sight": processes.Sight("b", lambda f: (f / "b.txt").exists())}
print(processes.run(["wait"] if sys.argv[2] == "sight" else [], folder, folder.with_suffix(".log"),
                    kill_at=at.get(sys.argv[2]), record=folder.with_suffix(".ops")))
"""


@pytest.mark.parametrize(
    "moment, status, left",
    [("rename", -signal.SIGKILL, [".a.txt"]), ("sight", -signal.SIGKILL, ["a.txt", "b.txt"]),
     ("never", 0, ["a.txt", "b.txt"])],
)  # fmt: skip
def test_a_process_dies_at_the_moment_that_is_named(tmp_path, moment, status, left):
    folder = tmp_path / "work"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", CODE, folder, moment], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == str(status), done.stderr
    names = sorted(path.name for path in folder.iterdir())
    assert names == left or (moment == "rename" and len(names) == 1 and "unfinished" in names[0])
    if moment == "never":
        texts = [str(operation) for operation in processes.operations(folder.with_suffix(".ops"))]
        assert "before: write .a.unfinished.txt, time 2" in texts and "before: rename a.txt" in texts


def test_differences_are_listed_without_times(tmp_path):
    for name, seconds, score in (("one", 1.5, 0.5), ("other", 2.5, 0.25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").write_text(json.dumps({"seconds": seconds, "rows": [{"date": name}]}))
        (tmp_path / name / "b.jsonl").write_text(json.dumps({"score": score}) + "\n")
        (tmp_path / name / "c_time.txt").write_text(f"{seconds}\n")
    (tmp_path / "other" / ".a.host.1.00000000.unfinished.txt").touch()
    found = compare.differences(*(compare.contents(tmp_path / name) for name in ("one", "other")))
    assert found == [".a.host.1.00000000.unfinished.txt is left over", "b.jsonl differs"]


def test_films_are_equal_if_their_frames_and_times_are(tmp_path):
    """Other bytes may show the same; another box, a frame less, or another rate may not pass."""
    frames = [np.full((48, 64, 3), 90, np.uint8) for _ in range(6)]
    for k, frame in enumerate(frames):
        frame[10:30, 5 + 4 * k : 25 + 4 * k] = (220, 40, 40)
    moved = [np.roll(frame, 6, 1) if k == 4 else frame for k, frame in enumerate(frames)]
    brighter = [frame + np.uint8(1) for frame in frames]
    films = {"whole": frames, "again": brighter, "moved": moved, "short": frames[:-1], "slow": frames}
    for name, pictures in films.items():
        (tmp_path / name).mkdir()
        with write_video(tmp_path / name / "film.mp4", 10 if name == "slow" else 25) as write:
            for picture in pictures:
                write(picture)
    found = {name: compare.contents(tmp_path / name) for name in films}
    assert (tmp_path / "whole/film.mp4").read_bytes() != (tmp_path / "again/film.mp4").read_bytes()
    assert [name for name in films if not compare.differences(found["whole"], found[name])] == ["whole", "again"]


def test_a_damaged_checkpoint_is_one_line_or_read_as_written(saved, tmp_path):
    expected = damage.loaded(saved)
    for name, file in damage.cases(saved)[:: 4 if len(damage.cases(saved)) > 40 else 2]:
        run = damage.shutil.copytree(saved, tmp_path / "run", dirs_exist_ok=False)
        damage.DAMAGES[name](run / file)
        result = damage.outcome(lambda run=run: damage.loaded(run), [expected])
        damage.shutil.rmtree(run)
        assert not damage.is_defect(result), f"{file} {name}: {result}"


def test_a_flipped_bit_in_weights_is_noticed(saved, tmp_path):
    run = damage.shutil.copytree(saved, tmp_path / "run")
    file = max((run / "checkpoints/0/variables").rglob("*"), key=lambda path: path.stat().st_size)
    damage.flip(file)
    with pytest.raises(UserError, match=f"variables/.*{file.name} is not as it was written"):
        load.load(run)


@pytest.mark.parametrize("found, result", [({"a": 1}, "as written"), ({"a": 2}, "other arrays, and nothing was said")])
def test_other_arrays_are_a_defect(found, result):
    outcome = damage.outcome(lambda: {k: np.asarray(v) for k, v in found.items()}, [{"a": np.asarray(1)}])
    assert outcome == result and damage.is_defect(outcome) == (result != "as written")
