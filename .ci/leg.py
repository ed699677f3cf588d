"""The legs of CI beside `make lint`, `make docs` and `make test`, each in an environment of its own:

    colab    exactly the versions of Google Colab (requirements-colab.txt): the package replaces none, and works; the
             notebooks run from top to bottom in their short mode
    newest   the newest version of everything, on the newest Python that this machine has
    wheel    source distribution and wheel: built, checked, installed and used outside of a checkout

A leg that lacks its Python, or the network, says so in one line and succeeds: it tests nothing then.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLAB = ROOT / "requirements-colab.txt"
RELEASE = ROOT / "requirements-release.txt"
DIST = ROOT / "build" / "dist"
TEST_TOOLS = ("beartype", "hypothesis", "packaging", "pytest", "pytest-xdist")
# What versions of other packages can break: tracking, training, checkpoints, data, files.
SELECTION = (
    "tests/checkpoints/test_run_directory.py", "tests/config",
    "tests/data/records", "tests/geometry", "tests/mdp/test_reward.py", "tests/mdp/test_rollout.py",
    "tests/media/test_video.py", "tests/model/test_relo.py", "tests/tracking/test_tracker.py",
    "tests/train/test_mesh.py", "tests/train/test_rl.py",
)  # fmt: skip


class Skipped(Exception):
    """Why a leg cannot run here."""


def python(*versions: str) -> str:
    """The first Python of these versions ("3.13") that runs, on PATH or of pyenv. Raises Skipped."""
    for version in versions:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for program in (f"python{version}", *map(str, reversed(pyenv))):
            found = shutil.which(program)
            if found and subprocess.run([found, "-c", "import venv"], capture_output=True).returncode == 0:
                return found
    raise Skipped(f"there is no Python {' or '.join(versions)}")


def environment(folder: Path, program: str) -> Path:
    """The Python of a new environment. Raises Skipped."""
    if subprocess.run([program, "-m", "venv", "--clear", folder], stdout=subprocess.DEVNULL).returncode:
        raise Skipped(f"{program} -m venv makes no environment")
    return folder / "bin" / "python"


def install(program: Path, *arguments: str | Path) -> None:
    """`pip install` into an environment. Raises Skipped without a network, SystemExit if packages do not fit."""
    pip = [program, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*pip, "install", *arguments], capture_output=True, text=True)
    if done.returncode:
        with tempfile.TemporaryDirectory() as scratch:
            probe = [*pip, "--no-cache-dir", "download", "--no-deps", "--dest", scratch, "iniconfig"]
            if subprocess.run(probe, capture_output=True).returncode:
                raise Skipped("the package index cannot be reached")
        raise SystemExit(f"pip install {' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")


def run(*command: str | Path, **variables: str | Path) -> None:
    """Runs a command in the checkout with variables of its environment. Raises SystemExit if it fails."""
    print(f"$ {' '.join(map(str, command))}", flush=True)
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    if subprocess.run(command, cwd=ROOT, env=environment).returncode:
        raise SystemExit(1)


def pytest(program: Path, *arguments: str, **variables: str | Path) -> None:
    """Runs tests of the checkout. Raises SystemExit if one fails."""
    run(program, "-m", "pytest", "--durations=5", *arguments, **variables)


def build_wheel() -> Path:
    """The wheel of this checkout, without the checks of `wheel`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", DIST, "."]
        # A folder build/lib of an earlier version would be part of the wheel.
        copy = Path(scratch) / "source"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "runs", "*.egg-info", "fixtures"))
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the wheel cannot be built:\n{done.stdout}{done.stderr}")
    return max(DIST.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def replaced(program: Path, wheel: Path) -> list[str]:
    """The packages of requirements-colab.txt of which an installation of the wheel would bring another version."""
    command = [program, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", f"{wheel}[all]"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"pip install --dry-run failed:\n{done.stderr}")
    new = {item["metadata"]["name"]: item["metadata"]["version"] for item in json.loads(done.stdout)["install"]}
    print(f"an installation on Colab brings {', '.join(f'{name} {version}' for name, version in new.items())}")
    of_colab = {_plain(line.partition("==")[0]) for line in COLAB.read_text().splitlines() if "==" in line}
    return [f"{name} by {version}" for name, version in new.items() if _plain(name) in of_colab]


def colab(folder: Path) -> None:
    """Exactly Colab's versions."""
    program = environment(folder, python("3.13"))
    install(program, "-r", COLAB)
    wheel = build_wheel()
    if wrong := replaced(program, wheel):
        raise SystemExit(
            f"an installation on Colab would replace {', '.join(wrong)}: widen the ranges in pyproject.toml"
        )
    install(program, f"{wheel}[all]", "-c", COLAB, *TEST_TOOLS)
    print(versions(program))
    pytest(program, "-n", "2", *SELECTION)
    pytest(Path(sys.executable), "tests/installed/test_training.py", RELO_INSTALLED=folder)
    run(program, "notebooks/execute.py")


def newest(folder: Path) -> None:
    """The newest version of everything."""
    program = environment(folder, python(*(f"3.{minor}" for minor in range(19, 10, -1))))
    install(program, "--upgrade", f"{build_wheel()}[all]", *TEST_TOOLS)
    print(versions(program))
    pytest(program, "-n", "2", *SELECTION)
    pytest(Path(sys.executable), "-k", "trains", "tests/installed/test_training.py", RELO_INSTALLED=folder)


def wheel(folder: Path) -> None:
    """Source distribution and wheel, and what is installed from them."""
    tools = environment(folder / "tools", sys.executable)
    install(tools, "-r", RELEASE)
    shutil.rmtree(DIST, ignore_errors=True)
    run(tools, "-m", "build", "--quiet", "--no-isolation", "--outdir", DIST, ".")
    (source,), (built,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    run(tools, "-m", "twine", "check", "--strict", source, built)
    run(tools, "-m", "check_wheel_contents", built)
    of_here = Path(sys.executable)
    pytest(of_here, "tests/installed/test_distributions.py", RELO_DIST=DIST)

    shutil.unpack_archive(source, folder / "source")
    (unpacked,) = (folder / "source").iterdir()
    some = ("tests/checkpoints/pytorch/test_reader.py", "tests/config", "tests/geometry", "tests/test_tables.py")
    settings = ("--rootdir", str(unpacked), "-c", str(unpacked / "pyproject.toml"))
    pytest(of_here, *settings, *(str(unpacked / path) for path in some))

    user = environment(folder / "user", sys.executable)
    install(user, built)
    pytest(of_here, "tests/installed/test_tracking.py", RELO_INSTALLED=folder / "user")
    run(of_here, "tests/readme.py", user.parent)
    install(user, f"{built}[all]")
    pytest(of_here, "tests/installed/test_training.py", RELO_INSTALLED=folder / "user")
    run(of_here, "tests/readme.py", user.parent, "all")


def versions(program: Path) -> str:
    """The versions that matter, in one line."""
    names = "jax jaxlib flax numpy absl-py opencv-python-headless optax orbax-checkpoint grain".split()
    code = "import sys; from importlib.metadata import version; "
    code += f"print('Python ' + sys.version.split()[0], *(f'{{name}} {{version(name)}}' for name in {names}), sep=', ')"
    return subprocess.run([program, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _plain(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str]) -> None:
    """Runs a leg."""
    legs = {"colab": colab, "newest": newest, "wheel": wheel}
    if len(arguments) != 1 or arguments[0] not in legs:
        raise SystemExit(f"usage: leg.py {'|'.join(legs)}")
    with tempfile.TemporaryDirectory(prefix="relo-jax-") as folder:
        try:
            legs[arguments[0]](Path(folder))
        except Skipped as reason:
            print(f"make test-{arguments[0]} tested nothing: {reason}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
