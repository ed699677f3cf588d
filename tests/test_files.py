"""Atomic writing: links stay links, pipes and devices are refused, planted links are not followed. Pipes as input."""

import errno
import os
import subprocess
import sys
import tempfile
import threading

import pytest

from relo_jax import files
from relo_jax.errors import UserError
from relo_jax.files import atomic_write, unfinished_name


def write(path, text="new"):
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    for text in ("first", "second"):
        write(link, text)
        assert link.is_symlink() and real.read_text() == text
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["elsewhere", "link.txt", "real.txt"]


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/new")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/stdout", "/dev/fd/1", "/dev/new"):
        with pytest.raises(UserError, match="cannot be written: it is a pipe or a device"):
            write(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "pipe"] and (tmp_path / "pipe").is_fifo()


def test_a_link_to_itself_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="loop cannot be written: "):
        write(tmp_path / "loop")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs /dev/shm")
def test_a_read_only_disk_is_one_line(tmp_path, monkeypatch):
    """There, removing a file that does not exist is an error too."""

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(UserError, match="a.txt cannot be written: Read-only file system"):
        write(tmp_path / "a.txt")


def test_files_in_shared_memory_are_allowed():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        write(f"{folder}/boxes.txt")
        assert os.listdir(folder) == ["boxes.txt"]


def test_nothing_is_written_through_a_planted_link(tmp_path, monkeypatch):
    """Somebody else guesses the temporary name, and puts a link to a file of the user's there."""
    victim, path = tmp_path / "victim.txt", tmp_path / "boxes.txt"
    victim.write_text("precious")
    assert unfinished_name(path) != unfinished_name(path)
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    unfinished_name(path).symlink_to(victim)
    with pytest.raises(UserError, match=r"boxes\.txt cannot be written: File exists"):
        write(path)
    assert victim.read_text() == "precious" and not path.exists()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "boxes.txt"
    script = f"""
import os, signal
from relo_jax.files import atomic_write
with atomic_write({str(path)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    running = unfinished_name(path)  # of this process
    running.write_text("mine")
    (tmp_path / ".boxes.other.1.0a0a0a0a.unfinished.txt").write_text("of another machine")
    assert len(os.listdir(tmp_path)) == 3 and not path.exists()
    write(path)
    kept = {"boxes.txt", running.name, ".boxes.other.1.0a0a0a0a.unfinished.txt"}
    assert set(os.listdir(tmp_path)) == kept and path.read_text() == "new"


def test_a_long_name_can_be_written(tmp_path):
    write(tmp_path / ("n" * 250 + ".txt"))
    assert len(os.listdir(tmp_path)) == 1


def test_a_file_is_made_with_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    write(tmp_path / "boxes.txt")
    assert (tmp_path / "boxes.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_pipe_without_a_writer_is_one_line_and_one_with_a_writer_is_read(tmp_path, monkeypatch):
    pipe, file = tmp_path / "boxes.txt", tmp_path / "file.txt"
    os.mkfifo(pipe)
    file.write_text("1,2,3,4")
    monkeypatch.setattr(files, "_PATIENCE", 0.2)
    with pytest.raises(UserError, match=r"boxes.txt is a pipe \(FIFO\) into which nobody has written for 0.2 s"):
        files.readable(pipe)
    monkeypatch.setattr(files, "_PATIENCE", 20.0)
    threading.Timer(0.2, pipe.write_text, ["5,6,7,8"]).start()  # it closes the pipe before that is read
    for path, text in ((pipe, "5,6,7,8"), (file, "1,2,3,4")):
        with open(files.readable(path)) as opened:
            assert opened.read() == text
    with pytest.raises(UserError, match="boxes.txt is a pipe"):
        files.refuse_pipe(pipe)
    files.refuse_pipe(file)
