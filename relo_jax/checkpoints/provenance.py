"""The origin of results: date, command, code, packages and machine.

The code's revision is the commit of the checkout that the package runs from, and whether files differ from it. For an
installed package it is the commit that pip recorded, if any.
"""

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from relo_jax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "opencv-python-headless")
_GIT_SECONDS = 10


def session(**more: Any) -> dict[str, Any]:
    """`more`, and the date, command, code, packages and machine of this process."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    return {
        **more,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "code": {"relo_jax": __version__, **revision()},
        "packages": {"python": platform.python_version(), **versions},
        "machine": {"system": platform.system(), "devices": f"{len(devices)} x {devices[0].device_kind}"},
    }


def revision(package: Path = Path(__file__).parents[1]) -> dict[str, str | bool | None]:
    """The commit that a package runs from.

    Returns:
      `revision`, None if unknown; `changed`, whether files of the checkout differ from it, None without a checkout.
    """

    def git(*arguments):
        command = ["git", "-C", str(package), *arguments]
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, env=environment)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # A package may be installed below a repository that does not track it.
        if git("ls-files", "--error-unmatch", "__init__.py") is not None:
            return {"revision": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
        direct_url = importlib.metadata.distribution("relo-jax").read_text("direct_url.json")
        return {"revision": json.loads(direct_url or "{}").get("vcs_info", {}).get("commit_id"), "changed": None}
    except (OSError, ValueError, subprocess.TimeoutExpired, importlib.metadata.PackageNotFoundError):
        return {"revision": None, "changed": None}


def circumstances() -> dict[str, Any]:
    """Machine, versions and date of a measurement."""
    return {
        "machine": f"{jax.devices()[0].device_kind} ({platform.machine()}, {os.cpu_count()} cores)",
        "versions": {"relo_jax": __version__, "jax": jax.__version__, "python": platform.python_version()},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
