"""What an installed package does. Only the legs of CI (.ci/leg.py) collect these tests: they install it first.

RELO_INSTALLED is the environment that it is installed in, RELO_DIST the folder of the wheel and the source
distribution. pytest itself runs in the checkout's environment; the commands run outside of the checkout.
"""

import os
import subprocess
from pathlib import Path

import pytest

collect_ignore_glob = [] if {"RELO_INSTALLED", "RELO_DIST"} & os.environ.keys() else ["test_*.py"]


@pytest.fixture
def run(tmp_path):
    """Runs a program of the environment in an empty folder: `run("relo", "track", ...)`."""
    bin_folder = Path(os.environ["RELO_INSTALLED"]) / "bin"
    # The suite's own simulated devices and shortcuts are not what a user has.
    ours = ("PYTHONPATH", "XLA_FLAGS", "JAX_PLATFORMS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}

    def run(program, *arguments, status=0):
        command = [bin_folder / program, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800)
        assert done.returncode == status, f"{program} {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done

    return run
