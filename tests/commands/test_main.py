"""The command line: every command is there and imports only when it runs, and mistakes are one line."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.commands import main as cli
from relo_jax.commands import train
from relo_jax.errors import UserError

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "demo", "train", "study", "profile", "plan", "eval", "calibrate", "report", "pack", "push", "reproduce", "rehearse",
    "track", "convert", "data", "export", "web",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Does not touch this machine's cache of compiled programs."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "restored after the test")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def relo(*argv):
    return subprocess.run(
        [sys.executable, "-m", "relo_jax.commands.main", *argv], cwd=ROOT, capture_output=True, text=True
    )


def one_line_of_error(capsys):
    out, err = capsys.readouterr()
    assert err.startswith("relo: ") and err.count("\n") == 1 and err.endswith("\n"), err
    return err


def test_help_lists_the_commands_and_no_other():
    done = relo("--help")
    assert done.returncode == 0
    # The text of a long name is on the next line, further indented.
    assert sorted(re.findall(r"^ {4}(\S+)", done.stdout, re.M)) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [(), *[(name,) for name in COMMANDS]])
def test_help_needs_no_jax(command):
    code = (
        "import sys; from relo_jax.commands import main as cli\n"
        f"try: cli.main([*{command!r}, '--help'])\n"
        "except SystemExit as end: print('status', end.code, 'jax' in sys.modules, 'cv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "status 0 False False"


def test_help_of_train_shows_its_flags(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--help"])
    assert "--workdir" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["convert", "nowhere.pth.tar", "out"], "nowhere.pth.tar"),
        (["train", "--config=nowhere.py", "--workdir=out"], "nowhere.py"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(argv, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 1
    assert named in one_line_of_error(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    ["eval --dataset lasot", "report a --dataset lasot", "pack got10k a --out a.zip", "calibrate --checkpoint a"],
)
def test_the_data_may_be_in_a_bucket(command):
    args = cli.parser().parse_args([*command.split(), "--data-root", "gs://bucket/built"])
    assert str(args.data_root) == "gs://bucket/built"


@pytest.mark.parametrize("command", ["eval --check runs/b256", "track film --checkp runs/b256"])
def test_a_flag_may_be_shortened(command):
    assert cli.parse(command.split()).checkpoint == "runs/b256"


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize(
    "command",
    [
        "track film --box 1,1,9,9",
        "eval --data-root sequences",
        "reproduce --variant b256 --checkpoint b.pth.tar --data-root .",
        "calibrate --checkpoint b.msgpack",
    ],
)
def test_the_dtype_reaches_the_checkpoint(command, dtype, capsys, tmp_path, monkeypatch):
    for folder, images in (("film", ""), ("sequences/one", "img")):
        (tmp_path / folder / images).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / images / "0001.png"), np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "sequences" / "one" / "groundtruth.txt").write_text("1,1,9,9\n")
    monkeypatch.chdir(tmp_path)

    def load_tracker(path, dtype=None):
        raise UserError(f"loaded in {dtype}")

    monkeypatch.setattr(checkpoint, "load_tracker", load_tracker)
    assert cli.main([*command.split(), *(["--dtype", dtype] if dtype else [])]) == 1
    assert one_line_of_error(capsys) == f"relo: loaded in {dtype}\n"


def test_an_unknown_dtype_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["track", "film", "--box", "1,1,9,9", "--dtype", "float8"])
    assert "argument --dtype: invalid choice: 'float8'" in capsys.readouterr().err


def test_a_mistake_in_a_process_leaves_no_traceback(tmp_path):
    done = relo("convert", str(tmp_path / "nowhere.pth.tar"), str(tmp_path / "out"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "unknown"),
    [
        (["eval", "--wndow-power=3", "--config.eval.batch=3"], "--wndow-power=3 (did you mean --window-power?)"),
        (["eval", "--config.eval.batch", "3", "4"], "4"),
        (["eval", "--config.tracker.update_threshold", "-3", "-4"], "-4"),
        (["train", "--config=configs/relo_tiny.py", "--wrkdir=x", "more"], "--wrkdir=x more (did you mean --workdir?)"),
        (["report", "a", "--config.eval.batch=3"], "--config.eval.batch=3"),
    ],
)
def test_an_unknown_flag_is_refused_also_beside_fields_of_a_config(argv, unknown, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(argv)
    err = capsys.readouterr().err
    assert err.startswith(f"usage: relo {argv[0]} ")
    assert err.endswith(f"relo {argv[0]}: error: unrecognized arguments: {unknown}\n")


def test_an_unknown_command_is_refused():
    done = relo("trakc")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "relo: error: no command is called 'trakc' (did you mean 'track'?)"


def test_a_command_like_no_other_is_refused_with_all_commands(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["film.mp4"])
    assert f"no command is called 'film.mp4' (known: {', '.join(cli.COMMANDS)})\n" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(train, "run", lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train"])


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt(), 130), (UserError("frame 3 is not an image"), 1)])
def test_exit_status(raised, status, monkeypatch, capsys):
    def fail(args):
        raise raised

    monkeypatch.setattr(train, "run", fail)
    assert cli.main(["train"]) == status
    one_line_of_error(capsys)


@pytest.mark.parametrize("then", ["time.sleep(30)", "pass"])
def test_ctrl_c_in_a_callback_is_not_lost_and_does_not_hit_later_code(then):
    """JAX has a callback in each garbage collection; Python can only ignore an exception there."""
    code = f"""
import gc, os, signal, time
from relo_jax.commands import main as cli
from relo_jax.commands import train

def command(args):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
    gc.callbacks.append(lambda phase, info: os.kill(os.getpid(), signal.SIGINT) if phase == "start" else None)
    gc.collect()
    gc.callbacks.clear()
    {then}

train.run = command
status = cli.main(["train"])
time.sleep(0.2)
raise SystemExit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stderr) == (130, "relo: interrupted\n")


PRINTS, HELPS, FAILS = 'print("a table")', "print('a table') or exit(0)", "print('a table') or fail()"


@pytest.mark.parametrize(
    ("stdout", "flag", "command", "status", "message"),
    [
        ("gone", "-B", PRINTS, 141, ""),
        ("gone", "-u", PRINTS, 141, ""),
        ("gone", "-B", HELPS, 141, ""),
        ("gone", "-B", FAILS, 1, "relo: a mistake\n"),
        ("full", "-B", PRINTS, 1, "relo: the output cannot be written: No space left on device\n"),
        ("full", "-u", PRINTS, 1, "relo: the output cannot be written: No space left on device\n"),
        ("full", "-B", FAILS, 1, "relo: a mistake\n"),
        ("closed", "-B", PRINTS, 0, ""),
    ],
)
def test_a_closed_or_full_standard_output_causes_no_traceback(stdout, flag, command, status, message, monkeypatch):
    code = f"""
from relo_jax.commands import main as cli
from relo_jax.commands import train
from relo_jax.errors import UserError

def fail():
    raise UserError("a mistake")

train.run = lambda args: {command}
raise SystemExit(cli.main(["train"]))
"""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    shell = {"gone": '(sleep 0.2; exec "$@") | true', "full": '"$@" > /dev/full', "closed": '"$@" >&-'}[stdout]
    shell = ["bash", "-c", f"set -o pipefail; {shell}", "bash", sys.executable, flag, "-c", code]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, message)


def test_other_broken_pipes_are_bugs(monkeypatch):
    def fail(args):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(train, "run", fail)
    with pytest.raises(BrokenPipeError):
        cli.main(["train"])


def test_compiled_programs_are_kept_where_the_user_sets(monkeypatch, tmp_path):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    cli.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache" / "relo_jax" / "compiled")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    cli.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/elsewhere"


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_compiled_programs_are_not_kept_where_others_may_write(monkeypatch, tmp_path, capsys, mode):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    folder = tmp_path / "cache" / "relo_jax" / "compiled"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    cli.keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert "is not yours alone" in capsys.readouterr().err
    folder.chmod(0o755)
    cli.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)


def test_a_user_without_a_home_can_run_commands(monkeypatch):
    """As in a container whose user has no entry in the list of users."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    cli.keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_programs_of_simulated_devices_are_not_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    cli.keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 1), (errno.ENAMETOOLONG, 1), (errno.EINVAL, None)])
def test_a_full_disk_is_one_line_and_other_errors_are_bugs(monkeypatch, capsys, number, status):
    def fail(args):
        raise OSError(number, os.strerror(number), "runs/a" * 1000)

    monkeypatch.setattr(train, "run", fail)
    if status is None:
        with pytest.raises(OSError):
            cli.main(["train"])
        return
    assert cli.main(["train"]) == status
    message = capsys.readouterr().err
    assert message.startswith("relo: runs/a") and message.endswith(f"{os.strerror(number)}\n") and len(message) < 300
