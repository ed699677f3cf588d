"""Runs the real toolkits as processes, in an environment of their own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import compiler

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-toolkits"


class Toolkits:
    """Runs commands of the environment, which share their compiled programs."""

    def __init__(self, cache):
        self.python = str(ENVIRONMENT / "bin" / "python")
        self._variables = {
            **os.environ,
            "XLA_FLAGS": compiler.FLAGS,  # one device, as for a user
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "MPLBACKEND": "Agg",
            "HTTPS_PROXY": "http://127.0.0.1:9",  # keeps the VOT toolkit from looking for newer versions
        }

    def __call__(self, *command, cwd, status=0):
        """Stdout and stderr of `.venv-toolkits/bin/COMMAND`; temporary files go to `cwd` too."""
        command = [str(ENVIRONMENT / "bin" / command[0]), *map(str, command[1:])]
        variables = {**self._variables, "TMPDIR": str(cwd)}
        done = subprocess.run(
            command, cwd=cwd, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="session")
def toolkits(tmp_path_factory):
    """Runs the toolkits; skips the test if they are not installed."""
    if not (ENVIRONMENT / "toolkits-are-installed").exists():
        pytest.skip(f"needs the toolkits of VOT and GOT-10k in {ENVIRONMENT}: make toolkits")
    return Toolkits(tmp_path_factory.mktemp("compiled"))
