"""The toolkits' own environment, in which these tests run the real packages as processes."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-toolkits"


class Toolkits:
    """Runs commands of the environment; what they compile is kept for the next of them."""

    def __init__(self, cache):
        self.python = str(ENVIRONMENT / "bin" / "python")
        self._variables = {
            **os.environ,
            "XLA_FLAGS": "",  # one device, as a user has it
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "MPLBACKEND": "Agg",
            "HTTPS_PROXY": "http://127.0.0.1:9",  # the VOT toolkit asks for newer versions of itself, and may not
        }

    def __call__(self, *command, cwd, status=0):
        """What `.venv-toolkits/bin/COMMAND` wrote to stdout and stderr together; temporary files go to `cwd` too."""
        command = [str(ENVIRONMENT / "bin" / command[0]), *map(str, command[1:])]
        variables = {**self._variables, "TMPDIR": str(cwd)}
        done = subprocess.run(
            command, cwd=cwd, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="session")
def toolkits(tmp_path_factory):
    """Runs the toolkits; the test skips where they are not installed."""
    if not (ENVIRONMENT / "toolkits-are-installed").exists():
        pytest.skip(f"needs the toolkits of VOT and GOT-10k in {ENVIRONMENT}: make toolkits")
    return Toolkits(tmp_path_factory.mktemp("compiled"))
