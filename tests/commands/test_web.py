"""`relo web` serves until Ctrl-C, which ends it quietly."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from relo_jax.errors import UserError
from tests.command import run


def test_it_serves_until_ctrl_c(tmp_path):
    (tmp_path / "index.html").write_text("a page")
    command = [sys.executable, "-m", "relo_jax.commands.main", "web", str(tmp_path), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **pipes) as server:
        said = server.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.read() == b"a page" and answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr.read() == ""


def test_a_folder_or_a_checkpoint_is_given_not_both(tmp_path, capsys):
    for arguments in ((), (tmp_path, "--checkpoint", "starter")):
        with pytest.raises(SystemExit):
            run("web", *arguments)
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no page"):
        run("web", tmp_path)
