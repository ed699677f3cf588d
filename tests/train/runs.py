"""Runs of `relo train`, in this process or another, of a model of a few thousand parameters and procedural clips."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from relo_jax import config as relo_config
from relo_jax.checkpoints import run_directory
from relo_jax.train import mesh, metrics_log

REPO = Path(__file__).parents[2]
TRAIN = """
import sys
from tests.train.runs import one_device
from relo_jax.train import loop
loop.make_mesh = one_device
from relo_jax.commands import main
args = main.parse(["train", *sys.argv[1:]])
args.run(args)
"""
FIELDS = {
    "model.width": 16,
    "model.depth": 1,
    "model.heads": 2,
    "model.head_width": 16,
    "model.search_size": 32,
    "model.template_size": 32,
    "warmup.search_frames": 1,
    "rl.clip_length": 2,
    "batch_size": 8,
    "total_steps": 12,
    "log_every": 2,
    "eval_every": 8,
    "eval_batches": 1,
    "checkpoint_every": 4,
    "keep_checkpoints": 2,
    "optimizer.schedule": "step",
    "optimizer.drop_at": 1.0,
    "optimizer.warmup_steps": 0,
    "data.workers": 1,
    "data.procedural.num_frames": 24,
    "data.procedural.bank_size": 4,
}


def make_config(stage="warmup", **fields):
    """A config that trains in seconds, with `__` for the dots of a field."""
    config = relo_config.paper(stage)
    config.model.variant = "tiny"
    config.update_from_flattened_dict(FIELDS | {name.replace("__", "."): value for name, value in fields.items()})
    return config


def one_device(config):
    """A mesh of only one device."""
    return mesh.make_mesh(config, jax.devices()[:1])


@contextlib.contextmanager
def caching_in(directory):
    """JAX's compilation cache in a directory. JAX decides only once whether it has a cache, hence the resets."""
    values = {"jax_compilation_cache_dir": str(directory), "jax_persistent_cache_min_compile_time_secs": 0}
    before = {name: getattr(jax.config, name) for name in values}

    def use(settings):
        for name, value in settings.items():
            jax.config.update(name, value)
        reset_cache()

    use(values)
    try:
        yield
    finally:
        use(before)


def start(config, workdir, code=TRAIN):
    """Starts `relo train` in another process, by some code."""
    fields = relo_config.flatten(config)
    changed = [name for name in FIELDS if name != "stage"]
    file = Path(workdir).with_suffix(".py")
    file.write_text(
        "from relo_jax import config as relo_config\n"
        "def get_config(stage='warmup'):\n"
        "    config = relo_config.paper(stage)\n"
        "    config.model.variant = 'tiny'\n"
        "    return config\n"
    )
    overrides = [f"--config.{name}={fields[name]}" for name in changed]
    environment = os.environ | {
        "PYTHONPATH": str(REPO),
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }  # fmt: skip
    command = [sys.executable, "-c", code, f"--config={file}", f"--workdir={workdir}", *overrides]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Waits for a run, which must succeed."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def everything(workdir, step=None):
    """All arrays of a checkpoint by path, and its position in the data."""
    with run_directory.manager(workdir) as manager:
        step = manager.latest_step() if step is None else step
        restored = manager.restore(step, args=None)
    arrays = {name: restored[name] for name in (run_directory.VARIABLES, run_directory.TRAIN)}
    leaves = {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(arrays)}
    return leaves, restored[run_directory.DATA]


def assert_same(one, other):
    """Arrays and position are the same to the bit."""
    assert one[0].keys() == other[0].keys() and one[1] == other[1]
    for name, value in one[0].items():
        np.testing.assert_array_equal(value, other[0][name], err_msg=name)


def rows(workdir, split="train"):
    """Rows of the metrics, without the speed."""
    return [
        {k: v for k, v in row.items() if k != "clips_per_second"} for row in metrics_log.read_metrics(workdir, split)
    ]
