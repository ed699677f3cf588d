"""A run directory: steps, damage and disk space are checked before anything is read or written."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from relo_jax.checkpoints import checksums, run_directory
from relo_jax.checkpoints import load as checkpoint
from relo_jax.train import checkpoints
from tests.checkpoints.checks import assert_same, one_line
from tests.kill import disks

ROOT = Path(__file__).parents[2]
SAVE = """
import sys
import numpy as np
import orbax.checkpoint as ocp
from relo_jax.checkpoints import run_directory
from relo_jax.errors import UserError
from relo_jax.train import checkpoints

noise = np.random.default_rng(0).normal(size=(60, 64, 64)).astype(np.float32)
arrays = {str(number): array for number, array in enumerate(noise)}
try:
    with checkpoints.one_line_when_full(sys.argv[1]), run_directory.manager(sys.argv[1]) as manager:
        manager.save(1, args=ocp.args.Composite(variables=ocp.args.StandardSave(arrays)))
        manager.wait_until_finished()
except UserError as error:
    print(error)
"""


def test_a_run_means_its_newest_finished_step(run, model, variables):
    newer = jax.tree.map(lambda x: x + 1, variables)
    with run_directory.manager(run, keep=2) as manager:
        for step, tree in ((5, variables), (12, newer)):
            items = {
                run_directory.VARIABLES: ocp.args.StandardSave(tree),
                run_directory.TRAIN: ocp.args.StandardSave({"step": jnp.int32(step)}),
                run_directory.DATA: ocp.args.JsonSave({"next_index": step}),
            }
            manager.save(step, args=ocp.args.Composite(**items))
    (run / "checkpoints" / "20.orbax-checkpoint-tmp").mkdir()  # a save that was killed
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["12", "20.orbax-checkpoint-tmp", "5"]
    assert_same(checkpoint.load(run).variables, newer)
    assert_same(checkpoint.load(run / "checkpoints" / "5").variables, variables)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_checkpoint_is_refused(run, share, capfd):
    data = max((run / "checkpoints").rglob("d/*"), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    one_line(checkpoint.load, run, match=r"checkpoints/0 is damaged or truncated")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["variables", "variables/_METADATA", "variables/manifest.ocdbt", "variables/d"])
def test_a_checkpoint_with_a_part_missing_is_refused(run, name):
    part = run / "checkpoints" / "0" / name
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    one_line(checkpoint.load, run, match=r"checkpoints/0 is damaged or truncated")


def test_an_existing_directory_is_not_written_into(saved, model, variables, tmp_path):
    one_line(checkpoint.save_variables, saved, model, variables, match="exists already")
    (tmp_path / "empty").mkdir()
    checkpoint.save_variables(tmp_path / "empty", model, variables)
    assert_same(checkpoint.load(tmp_path / "empty").variables, variables)


def test_a_disk_that_fills_up_while_a_checkpoint_is_saved_is_one_line(tmp_path):
    if not disks.mounted(tmp_path / "disk", 600 << 10):
        pytest.skip("a small disk needs the right to mount")
    try:
        done = subprocess.run([sys.executable, "-c", SAVE, tmp_path / "disk"], capture_output=True, text=True, cwd=ROOT)
    finally:
        disks.unmount(tmp_path / "disk")
    assert done.returncode == 0 and "no space left on the disk of" in done.stdout, done.stderr
    assert not done.stderr  # which the threads of Orbax and TensorStore would fill


def test_a_full_disk_is_noticed_before_writing(tmp_path, model, variables, monkeypatch):
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    one_line(checkpoint.save_variables, tmp_path / "new" / "run", model, variables, match="no space left.* 3 MiB")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    checkpoint.save_variables(tmp_path / "new" / "run", model, variables)


def test_a_save_that_fails_in_the_background_is_an_error_and_no_log_of_tracebacks(run, variables, monkeypatch, caplog):
    """As on a disk that fills up meanwhile. Orbax logs through absl, whose log pytest collects."""

    def full(step):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checksums, "write", full)
    with run_directory.manager(run) as manager:
        manager.save(1, args=ocp.args.Composite(variables=ocp.args.StandardSave(variables)))
        with pytest.raises(OSError, match="No space left"):
            manager.wait_until_finished()
    assert not caplog.records
    assert not (run / "checkpoints" / "1").exists()


def test_a_removal_that_was_killed_is_completed_when_the_run_continues(tmp_path):
    for step in (2, 10, 4):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    (tmp_path / "checkpoints" / "12.orbax-checkpoint-tmp").mkdir()
    assert run_directory.steps_of(tmp_path) == [2, 4, 10]
    with checkpoints._made(tmp_path, keep=2):
        assert run_directory.steps_of(tmp_path) == [4, 10]
