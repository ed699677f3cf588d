"""The training loop: a run that was killed, stopped or fed bad data ends where it should.

All runs have a model of a few thousand parameters and real procedural clips. Programs are compiled once, for one
device, and shared through a compilation cache by all runs of this file, those in other processes too. (In jax 0.10.2,
cached programs of several CPU devices give wrong numbers.)
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest
from orbax.checkpoint import CheckpointManager

from relo_jax import config as relo_config
from relo_jax import interrupts
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card, run_directory
from relo_jax.data.clips import pipeline
from relo_jax.errors import UserError
from relo_jax.model import RELO, init_variables
from relo_jax.train import initialise, loop, metrics_log, watch
from relo_jax.train.callbacks import StopTraining
from relo_jax.train.history import History
from tests.train.runs import assert_same, caching_in, everything, finish, make_config, one_device, rows, start


@pytest.fixture(scope="module", autouse=True)
def compilation_cache(tmp_path_factory):
    """Shares compiled programs between the runs of this file, all on one device."""
    with caching_in(tmp_path_factory.mktemp("cache")), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_mesh", one_device)
        yield


@pytest.fixture(scope="module")
def warm(compilation_cache, tmp_path_factory):
    """A finished warm-up."""
    workdir = tmp_path_factory.mktemp("runs") / "warm"
    loop.train_and_evaluate(make_config(), workdir)
    return workdir


def test_a_run_writes_config_checkpoints_and_curves(warm):
    saved = relo_config.from_dict(run_directory.read_config(warm))
    assert saved.model.depth == 1 and saved.model.stem_blocks == (1, 1)  # fields of the variant too
    assert sorted(p.name for p in (warm / "checkpoints").iterdir()) == ["12", "8"]
    assert [row["step"] for row in rows(warm)] == [2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows(warm, "eval")] == [8, 12]
    assert all(np.isfinite(list(row[k] for k in ("loss", "iou", "grad_norm"))).all() for row in rows(warm))
    assert list((warm / "tensorboard").glob("events.*"))
    metrics, card = json.loads((warm / "metrics.json").read_text()), model_card.read(warm)
    assert metrics["step"] == 12 and metrics["held_out"]["iou"] == rows(warm, "eval")[-1]["iou"]
    assert card["stage"] == "warmup" and len(card["data"]["fingerprint"]) == 16 and len(card["sessions"]) == 1
    assert "cannot track" in (warm / "MODEL_CARD.md").read_text()
    loaded = checkpoint.load(warm)
    np.testing.assert_array_equal(
        loaded.variables["params"]["encoder"]["fc_norm"]["scale"],
        everything(warm)[0]["['variables']['params']['encoder']['fc_norm']['scale']"],
    )


def test_a_killed_run_ends_like_one_that_was_never_killed(warm, tmp_path):
    killed = start(make_config(), tmp_path / "killed")
    curve = tmp_path / "killed" / metrics_log.METRICS_FILE
    deadline = time.time() + 200
    while time.time() < deadline and not (curve.exists() and '"step": 6' in curve.read_text()):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.kill()  # SIGKILL
    killed.communicate()
    done = {int(p.name) for p in (tmp_path / "killed" / "checkpoints").iterdir() if p.name.isdigit()}
    assert 12 not in done, "it finished before it could be killed"
    finish(start(make_config(), tmp_path / "killed"))
    assert_same(everything(tmp_path / "killed"), everything(warm))
    assert all(rows(tmp_path / "killed", split) == rows(warm, split) for split in ("train", "eval"))
    first_steps = [session["first_step"] for session in model_card.read(tmp_path / "killed")["sessions"]]
    assert first_steps == ([0, max(done)] if done else [0])


class Interrupted:
    """A dataset that calls `event(k)` before it reads batch k (from 1), and passes each batch through `change`."""

    def __init__(self, dataset, event=lambda k: None, change=lambda k, batch: batch):
        self.dataset, self.event, self.change = dataset, event, change

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def starting_at(self, batch, rows):
        inner, outer = self.dataset.starting_at(batch, rows), self

        class Iterator:
            count = 0
            close = staticmethod(inner.close)

            def __iter__(self):
                return self

            def __next__(self):
                self.count += 1
                outer.event(self.count)
                return outer.change(self.count, next(inner))

        return Iterator()


def interrupt(monkeypatch, **hooks):
    """Wraps the training clips in `Interrupted`."""
    real = pipeline.make_dataset

    def make_dataset(config, model, *, train=True, **options):
        dataset = real(config, model, train=train, **options)
        return Interrupted(dataset, **hooks) if train else dataset

    monkeypatch.setattr(pipeline, "make_dataset", make_dataset)


def test_sigterm_saves_and_the_run_continues_from_there(warm, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, event=lambda k: os.kill(os.getpid(), signal.SIGTERM) if k == 9 else None)
        history = loop.train_and_evaluate(make_config(), tmp_path / "run")
    assert history.stopped and history.held_out == {}
    stopped = max(int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert stopped == 8  # the ninth batch is read during step 8, after which an evaluation is due
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    loop.train_and_evaluate(make_config(), tmp_path / "run")
    assert_same(everything(tmp_path / "run"), everything(warm))
    assert rows(tmp_path / "run", "eval") == rows(warm, "eval")


def test_a_run_stopped_in_its_last_evaluation_is_not_finished_until_that_is_made_up_for(warm, tmp_path, capsys):
    run = shutil.copytree(warm, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "12")  # the last four steps are done again

    def stop(*_):
        raise interrupts.Stopped

    for _ in range(2):  # after the last step; and when only the evaluation is left
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "evaluate_held_out", stop)
            assert loop.train_and_evaluate(make_config(), run).stopped
        assert "stopped after step 12; the same command continues there" in capsys.readouterr().err
    history = loop.train_and_evaluate(make_config(), run)
    assert not history.stopped and history.held_out
    assert rows(run, "eval") == rows(warm, "eval")


INTERRUPTED_COMPILATION = """
import os, signal, sys, threading
import jax
from relo_jax.commands import main
from relo_jax.train import loop

jax.config.update("jax_enable_compilation_cache", False)
compile_ahead = loop.compile_ahead

def compile_and_press(*arguments):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    compile_ahead(*arguments)
    threading.Event().wait()  # a compilation that never ends

loop.compile_ahead = compile_and_press
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
sys.exit(main.main(["train", *sys.argv[1:]]))
"""


def test_ctrl_c_does_not_wait_for_a_compilation(warm, tmp_path):
    process = start(make_config(), tmp_path / "run", INTERRUPTED_COMPILATION)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == watch.UNFINISHED and "stopped before step 1; the same command starts there" in errors
    assert rows(tmp_path / "run") == [] and not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, in a background job of a shell too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_twice_ends_a_run_at_once_and_a_callback_after_the_step(warm, tmp_path, monkeypatch, ctrl_c):
    def press_twice(k):
        if k == 7:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    seen = []

    def callback(row):
        seen.append(row)
        if row["split"] == "eval":
            raise StopTraining

    with monkeypatch.context() as patch:
        interrupt(patch, event=press_twice)
        with pytest.raises(KeyboardInterrupt):
            loop.train_and_evaluate(make_config(), tmp_path / "run")
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["4"]
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    history = loop.train_and_evaluate(make_config(), tmp_path / "run", callback)
    assert history.stopped and history.rows[2:] == seen
    assert [(row["step"], row["split"]) for row in seen] == [(6, "train"), (8, "train"), (8, "eval")]
    assert history.held_out == {name: x for name, x in seen[-1].items() if name not in ("step", "split")}
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["4", "8"]


def test_a_run_killed_in_its_last_evaluation_makes_up_for_it(warm, tmp_path):
    run = shutil.copytree(warm, tmp_path / "run")
    metrics = (warm / "metrics.json").read_text()
    *before, last = (run / metrics_log.METRICS_FILE).read_text().splitlines(keepends=True)
    assert '"eval"' in last
    (run / metrics_log.METRICS_FILE).write_text("".join(before))
    (run / "metrics.json").write_text(metrics.replace('"step": 12', '"step": 8'))
    held_out = loop.train_and_evaluate(make_config(), run).held_out
    assert {"step": 12, "split": "eval", **held_out} == rows(run, "eval")[-1]
    assert rows(run, "eval") == rows(warm, "eval")
    assert json.loads((run / "metrics.json").read_text()) == json.loads(metrics)


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(warm, tmp_path, monkeypatch):
    def poison(k, batch):
        if k == 9:
            batch = batch | {"search_boxes_xywh": np.full_like(batch["search_boxes_xywh"], np.nan)}
        return batch

    interrupt(monkeypatch, change=poison)
    config = make_config(log_every=12, eval_every=12, checkpoint_every=12)  # nothing is fetched before step 12
    with pytest.raises(UserError, match=r"step 9: loss nan.*last good state is checkpoint 8") as error:
        loop.train_and_evaluate(config, tmp_path / "run")
    model = RELO.from_config(config.model)
    source = pipeline.clip_source(config, model.config)
    assert all(source.describe(index) in str(error.value) for index in range(64, 72))
    assert_same(everything(tmp_path / "run"), everything(warm, 8))


def test_another_config_does_not_continue_a_run(warm):
    before = everything(warm)
    with pytest.raises(UserError, match=r"optimizer\.learning_rate=0\.0001, not 0\.01"):
        loop.train_and_evaluate(make_config(optimizer__learning_rate=0.01), warm)
    with pytest.raises(UserError, match=r"model\.depth=1, not 2"):
        loop.train_and_evaluate(make_config(model__depth=2), warm)
    assert_same(everything(warm), before)


def test_a_finished_run_reads_no_clips(warm, monkeypatch):
    before = everything(warm)
    monkeypatch.setattr(pipeline.Batches, "starting_at", lambda *_: pytest.fail("clips are read"))
    assert loop.train_and_evaluate(make_config(), warm).held_out == {}
    assert_same(everything(warm), before)


def test_a_finished_run_keeps_its_fitted_score(warm):
    saved = run_directory.read_config(warm)
    fitted = {**saved, "tracker": {**saved["tracker"], "score_value": 2.0, "found_threshold": 0.7}}
    run_directory.write_config(warm, fitted)
    loop.train_and_evaluate(make_config(), warm)
    assert run_directory.read_config(warm) == fitted
    run_directory.write_config(warm, saved)


def test_a_run_directory_that_cannot_be_created_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file cannot be a run directory \(Not a directory\): give another --workdir"):
        loop.train_and_evaluate(make_config(), tmp_path / "file")


def test_a_full_disk_is_one_line_and_leaves_only_whole_checkpoints(tmp_path, monkeypatch):
    real = CheckpointManager.save

    def save(self, step, **kwargs):
        if step == 8:
            (self.directory / "8.orbax-checkpoint-tmp-1").mkdir()
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, step, **kwargs)

    monkeypatch.setattr(CheckpointManager, "save", save)
    with pytest.raises(UserError, match="no space left on the disk of .*run") as error:
        loop.train_and_evaluate(make_config(), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["4"]


def test_a_damaged_checkpoint_is_named(warm, tmp_path):
    run = shutil.copytree(warm, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "12" / "train")
    with pytest.raises(UserError, match=r"12 cannot be read"):
        loop.train_and_evaluate(make_config(total_steps=14), run)


def test_a_checkpoint_of_another_optimiser_is_not_called_damaged(warm, tmp_path, monkeypatch):
    run = shutil.copytree(warm, tmp_path / "run")
    monkeypatch.setattr("relo_jax.train.state.optimizer", lambda config: optax.sgd(0.1, momentum=0.9))
    with pytest.raises(UserError, match="checkpoints/12 was made by another version.* with --config.init_from"):
        loop.train_and_evaluate(make_config(total_steps=14), run)


def test_the_rl_stage_needs_a_warm_up(tmp_path):
    with pytest.raises(UserError, match="init_from"):
        loop.train_and_evaluate(make_config("rl"), tmp_path / "run")


def test_the_rl_stage_trains_fresh_heads_on_frozen_features(warm, tmp_path):
    config = make_config("rl", init_from=str(warm), total_steps=2, checkpoint_every=2)
    history = loop.train_and_evaluate(config, tmp_path / "rl")
    trackers = history.tracker(), history.tracker(2), history.tracker(0)
    frame, box = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8), (20, 10, 12, 12)
    policies = [(tracker.init(frame, box), tracker.look(frame).policy)[1] for tracker in trackers]
    np.testing.assert_array_equal(policies[0], policies[1])
    assert np.abs(policies[0] - policies[2]).max() > 1e-6  # before the first step
    with pytest.raises(UserError, match="is a warm-up, which trains no policy"):
        History(warm).tracker(0)
    before, _ = everything(warm)
    after, _ = everything(tmp_path / "rl")
    variables = {name for name in after if name.startswith("['variables']")}
    trained = {name for name in variables if "['policy']" in name or "['value']" in name}
    for name in variables - trained:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert all(not np.array_equal(after[name], before[name]) for name in trained if "['out']['kernel']" in name)
    moments = [name for name in after if "['mu']" in name or "['nu']" in name]
    assert moments and all("['policy']" in name or "['value']" in name for name in moments)
    assert {"entropy", "greedy_iou", "greedy_auc", "explained_variance"} <= rows(tmp_path / "rl")[0].keys()

    again = make_config("rl", init_from=str(tmp_path / "rl"))
    model = RELO.from_config(again.model)
    key = jax.random.key(5)
    from_rl = initialise.initial_variables(again, model, key)["params"]["policy"]["out"]["kernel"]
    np.testing.assert_array_equal(from_rl, after["['variables']['params']['policy']['out']['kernel']"])
    from_warm = initialise.initial_variables(config, model, key)["params"]["policy"]["out"]["kernel"]
    np.testing.assert_array_equal(from_warm, init_variables(model, key)["params"]["policy"]["out"]["kernel"])


def test_a_checkpoint_of_another_model_names_the_first_parameter_that_differs(warm):
    config = make_config(init_from=str(warm), model__head_width=32)
    model = RELO.from_config(config.model)
    with pytest.raises(UserError, match=r"another variant.*head_width|another variant.*/bn0/|another variant.*/conv0/"):
        initialise.initial_variables(config, model, jax.random.key(0))


def test_a_flipped_bit_in_the_state_of_the_optimiser_is_noticed(warm, tmp_path):
    run = shutil.copytree(warm, tmp_path / "run")
    file = max((run / "checkpoints" / "12" / "train").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 16
    file.write_bytes(data)
    with pytest.raises(UserError, match="12 cannot be read: train/.* is not as it was written: remove it to continue"):
        loop.train_and_evaluate(make_config(total_steps=14), run)


def test_a_run_directory_has_one_run_at_a_time(warm, tmp_path):
    """The lock goes with the process that holds it, and leaves no file."""
    code = "import fcntl, os, sys, time\nfcntl.flock(os.open(sys.argv[1], os.O_RDONLY), 2)\nprint(flush=True)\n"
    run = shutil.copytree(warm, tmp_path / "run")
    other = subprocess.Popen([sys.executable, "-c", f"{code}time.sleep(60)", run], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        with pytest.raises(UserError, match="another process trains in .*run: wait until it ends, or give another"):
            loop.train_and_evaluate(make_config(), run)
    finally:
        other.kill()
        other.wait()
    assert not loop.train_and_evaluate(make_config(), run).stopped
    assert {path.name for path in run.iterdir()} == {path.name for path in warm.iterdir()}
