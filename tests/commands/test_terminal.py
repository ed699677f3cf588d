"""Commands are printed as they can be pasted."""

import os
import sys

import pytest

from relo_jax.commands.terminal import how_called


@pytest.fixture
def relo(tmp_path, monkeypatch):
    """A program of that name in an environment that no PATH leads to; the working directory has it."""
    program = tmp_path / "an env" / "bin" / "relo"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    return program


def test_an_environment_that_is_not_active_is_named(relo, monkeypatch, tmp_path):
    for called in ("an env/bin/relo", str(relo)):
        monkeypatch.setattr(sys, "argv", [called])
        assert how_called() == "'an env/bin/relo'"
    monkeypatch.chdir(tmp_path.parent)
    assert how_called() == f"'{relo.relative_to(tmp_path.parent)}'"
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "argv", ["/elsewhere/relo"])
    assert how_called() == "elsewhere/relo"


def test_an_active_environment_needs_the_name_alone(relo, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(relo)])
    monkeypatch.setenv("PATH", f"{relo.parent}{os.pathsep}/usr/bin")
    assert how_called() == "relo"


def test_python_is_named_where_it_was_called_and_no_kernel_is(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/relo_jax/commands/main.py"])
    assert how_called() == f"{sys.executable} -m relo_jax.commands.main"
    monkeypatch.setattr(sys, "argv", ["/x/ipykernel_launcher"])
    assert how_called() == "relo"
