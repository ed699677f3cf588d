"""A run of two processes, each with its share of the clips and devices, equals that of one, and survives being killed.

The processes are real and joined over loopback (gloo). They sleep between steps, so that there is time to kill them,
and XLA optimises their programs less, which takes half the time.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables
from relo_jax.train import distributed, loop, metrics_log, watch
from tests import command, compiler
from tests.ports import free_port
from tests.train import runs

REPO = Path(__file__).parents[2]
STEPS = 60
FIELDS = {"total_steps": STEPS, "log_every": 1, "eval_every": 20, "checkpoint_every": 10, "keep_checkpoints": 100}
TRAIN = """
import sys, time
from relo_jax.commands import main as cli
from relo_jax.train import loop
wait = loop.wait_for_old_steps
loop.wait_for_old_steps = lambda *now: (wait(*now), time.sleep(0.1))
sys.exit(cli.main(["train", *sys.argv[1:]]))
"""
CONFIG = """
from relo_jax import config as relo_config
def get_config(stage="warmup"):
    config = relo_config.paper(stage)
    config.model.variant = "tiny"
    return config
"""


def start(workdir, init_from, code=("", ""), **more):
    """Starts two processes of one run of the RL stage; `code` runs before, in each."""
    port = free_port()
    file = workdir.with_suffix(".py")
    file.write_text(CONFIG)
    fields = runs.FIELDS | FIELDS | {"init_from": init_from} | more
    shared = [f"--config.{name}={value}" for name, value in fields.items()]
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": compiler.FLAGS}  # and one device in each
    environment = os.environ | quick | {"PYTHONPATH": str(REPO)}
    common = [f"--config={file}:rl", f"--workdir={workdir}", *shared, f"--coordinator=127.0.0.1:{port}"]
    return [
        subprocess.Popen(
            [sys.executable, "-c", code[i] + TRAIN, *common, "--num_processes=2", f"--process_id={i}"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip


def ends(running, within):
    """Exit status and stderr of each process, which must end by itself within so many seconds."""
    deadline = time.time() + within
    try:
        errors = [process.communicate(timeout=max(deadline - time.time(), 0.1))[1] for process in running]
    finally:
        for process in running:
            process.kill()
    return [process.returncode for process in running], errors


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled():
    """Compiles as in the processes."""
    before = jax.config.read("jax_disable_most_optimizations")  # it has no attribute of this name
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def wait_for_step(workdir, step, running):
    curve, deadline = workdir / metrics_log.METRICS_FILE, time.time() + 200
    while not (curve.exists() and f'"step": {step},' in curve.read_text()):
        assert time.time() < deadline and all(p.poll() is None for p in running), ends(running, 1)
        time.sleep(0.02)


def checkpoints(workdir):
    return {int(path.name) for path in (workdir / "checkpoints").iterdir()}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A warm-up for the RL stage to start from."""
    model = RELO.from_config(runs.make_config().model)
    path = tmp_path_factory.mktemp("runs") / "warm"
    checkpoint.save_variables(path, model, init_variables(model, jax.random.key(0)))
    return str(path)


@pytest.fixture(scope="module")
def alone(warm, tmp_path_factory):
    """The run of one process on one device, and a cache of its programs."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, runs.caching_in(folder / "cache"):
        patch.setattr(loop, "make_mesh", runs.one_device)
        loop.train_and_evaluate(runs.make_config("rl", init_from=warm, **FIELDS), folder / "alone")
        yield folder / "alone"


def copy_until(alone, workdir, step):
    """A copy of a run as it was after some steps."""
    shutil.copytree(alone, workdir)
    for later in checkpoints(workdir) - {step}:
        shutil.rmtree(workdir / "checkpoints" / str(later))
    return workdir


def test_two_processes_and_one_continue_each_others_run(alone, warm, tmp_path, monkeypatch):
    run = copy_until(alone, tmp_path / "run", 20)  # with a held-out evaluation to make up for
    (run / metrics_log.METRICS_FILE).unlink()  # rows of later steps would look like theirs
    pair = start(run, warm)
    wait_for_step(run, 23, pair)
    pair[0].kill()  # SIGKILL to the process that runs JAX's coordination service, without which JAX aborts
    statuses, (_, log) = ends(pair, 180)
    assert statuses == [-signal.SIGKILL, watch.UNFINISHED], log
    (line,) = [line for line in log.splitlines() if line.startswith("relo: ")]
    assert line.startswith("relo: process 0 on ") and "is gone: it was killed" in line
    assert "Traceback" not in log and "Check failure" not in log
    assert max(checkpoints(run)) < STEPS

    pair = start(run, warm, **{"mesh.data": 1})  # each has one of the two frames of every clip
    wait_for_step(run, 32, pair)
    for process in pair:
        process.terminate()  # SIGTERM
    statuses, (log, silent) = ends(pair, 90)
    assert statuses == [watch.UNFINISHED] * 2, (log, silent)
    stopped = max(checkpoints(run))
    assert 32 <= stopped < STEPS and f"stopped after step {stopped}" in log
    assert "held-out" not in silent and "%" not in silent  # only process 0 logs

    monkeypatch.setattr(loop, "make_mesh", runs.one_device)
    loop.train_and_evaluate(runs.make_config("rl", init_from=warm, **FIELDS), run)
    # Evaluation uses the running means, which contain biases that are only rounding: see test_mesh.
    for split, rtol, name in (("train", 1e-5, "loss"), ("eval", 1e-3, "greedy_iou")):
        ours, theirs = (runs.rows(workdir, split) for workdir in (run, alone))
        theirs = [row for row in theirs if row["step"] > 20 or row["step"] == 20 and split == "eval"]
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one[name], other[name], rtol=rtol, err_msg=f"{split} {one['step']}")
    assert_same_variables(runs.everything(run), runs.everything(alone))


def assert_same_variables(one, other):
    assert one[1] == other[1]  # the position in the data
    for name, value in other[0].items():
        # Biases without an effect are only rounding: see test_mesh.
        idle = ("['conv" in name and "['bias']" in name) or name.endswith("['policy']['out']['bias']")
        if "['params']" in name and not idle:
            assert np.linalg.norm(one[0][name] - value) <= 1e-5 * np.linalg.norm(value) + 1e-7, name


def test_an_error_in_one_process_ends_both_with_its_message(warm, tmp_path):
    fail = """
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
def fails(*args, **kwargs):
    raise UserError("/data/lasot: no such folder")
pipeline.make_dataset = fails
"""
    statuses, errors = ends(start(tmp_path / "run", warm, code=("", fail)), 200)
    assert statuses == [1, 1]
    for error in errors:
        lines = [line for line in error.splitlines() if line.startswith("relo: ")]
        assert lines[-1] == "relo: process 1 of 2: /data/lasot: no such folder"
        assert "Traceback" not in error


FULL = """
import errno, sys
from relo_jax.train import distributed

class FullDisk:
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = isatty = lambda self: None

sys.stderr = FullDisk()
distributed._end("the disk is full", 75)
"""


def test_a_process_ends_even_if_its_log_takes_no_message():
    assert subprocess.run([sys.executable, "-c", FULL], timeout=120, check=False).returncode == 75


def test_a_second_sigterm_does_not_end_one_of_several_processes_but_one_after_ctrl_c_does(monkeypatch):
    asked, ended = [], []
    monkeypatch.setattr(distributed, "_watch", SimpleNamespace(count=2, end_soon=lambda: asked.append("all")))
    before = signal.signal(signal.SIGTERM, lambda *_: ended.append("at once"))
    try:
        with distributed.stop_on_signal() as stop:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
            assert asked == ["all", "all"] and not ended and not stop.now()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        assert asked == ["all"] * 3 and ended == ["at once"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_several_processes_stop_when_they_have_agreed_and_not_before(monkeypatch):
    watch = SimpleNamespace(count=2, end_soon=lambda: None, is_last=lambda step: step == 3)
    monkeypatch.setattr(distributed, "_watch", watch)
    stop = distributed.Stop()
    stop.request()
    assert [(stop.now(), stop.after(step), stop.now()) for step in (2, 3)] == [(False,) * 3, (False, True, True)]


def test_processes_with_different_configs_do_not_start(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    gather = lambda other: lambda mine: np.stack([mine, other])
    monkeypatch.setattr(distributed.multihost_utils, "process_allgather", lambda mine: np.stack([mine, mine]))
    distributed.assert_same_on_hosts("config", {"seed": 0}, "start both with the same command")
    monkeypatch.setattr(distributed.multihost_utils, "process_allgather", gather(np.uint32(7)))
    with pytest.raises(UserError, match="do not have the same config: start both"):
        distributed.assert_same_on_hosts("config", {"seed": 0}, "start both with the same command")


@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"])
def test_processes_of_a_launcher_do_not_each_do_the_whole_run(name, monkeypatch):
    monkeypatch.setenv(name, "4")
    with pytest.raises(UserError, match="started 4 processes.*--distributed"), distributed.joined(None):
        pass
    monkeypatch.setenv(name, "1")
    with distributed.joined(None):
        pass


def test_without_a_cluster_the_error_says_how_to_name_one():
    with pytest.raises(UserError, match="--coordinator=HOST:PORT") as error, distributed.joined(distributed.Cluster()):
        pass
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], None),
        (["--distributed"], distributed.Cluster()),
        (["--coordinator=a:1", "--num_processes=2", "--process_id=1"], distributed.Cluster("a:1", 2, 1)),
    ],
)
def test_the_flags_name_the_cluster(flags, expected, monkeypatch):
    class Joined(Exception):
        pass

    def joined(cluster):
        raise Joined(cluster)

    monkeypatch.setattr(distributed, "joined", joined)
    with pytest.raises(Joined) as reached:
        command.run("train", f"--config={REPO / 'configs' / 'relo_tiny.py'}", "--workdir=x", *flags)
    assert reached.value.args[0] == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coordinator=a:1"], "together or not at all"),
        (["--coordinator=a:1", "--num_processes=2", "--process_id=2"], "--process_id=2"),
        (["--coordinator=a:1", "--num_processes=0", "--process_id=0"], "--num_processes is 0"),
    ],
)
def test_flags_that_name_no_cluster_are_refused(flags, message):
    with pytest.raises(UserError, match=message) as error:
        command.run("train", f"--config={REPO / 'configs' / 'relo_tiny.py'}", "--workdir=x", *flags)
    assert "\n" not in str(error.value)
