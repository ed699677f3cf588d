"""Who made something, when, with which code, packages and machine.

The code's revision is that of the checkout that the package runs from; it says when files were changed after it. For
an installed package it is the revision that pip recorded, if it recorded one.
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

import jax

from relo_jax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "opencv-python-headless")
_SECONDS = 10  # for git


def session(**more):
    """Who does something now, with what: dict of date, command, code, packages and machine, and what `more` has."""
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


def revision(package=Path(__file__).parents[1]):
    """The commit that a package runs from: dict of revision, None where nobody knows, and changed, whether files of
    the checkout differ from it (None where there is no checkout)."""

    def git(*arguments):
        command = ["git", "-C", str(package), *arguments]
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, env=environment)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # A package that is installed somewhere below a repository is not of it: nothing of it is tracked there.
        if git("ls-files", "--error-unmatch", "__init__.py") is not None:
            return {"revision": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
        noted = importlib.metadata.distribution("relo-jax").read_text("direct_url.json")
        return {"revision": json.loads(noted or "{}").get("vcs_info", {}).get("commit_id"), "changed": None}
    except (OSError, ValueError, subprocess.TimeoutExpired, importlib.metadata.PackageNotFoundError):
        return {"revision": None, "changed": None}


def circumstances():
    """Where and when figures were measured: dict of machine, versions and date."""
    return {
        "machine": f"{jax.devices()[0].device_kind} ({platform.machine()}, {os.cpu_count()} cores)",
        "versions": {"relo_jax": __version__, "jax": jax.__version__, "python": platform.python_version()},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
