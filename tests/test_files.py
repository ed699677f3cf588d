"""Atomic writing: links stay links, and pipes and devices are refused."""

import os
import tempfile

import pytest

from relo_jax.errors import UserError
from relo_jax.files import atomic_write


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
def test_files_in_shared_memory_are_allowed():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        write(f"{folder}/boxes.txt")
        assert os.listdir(folder) == ["boxes.txt"]
