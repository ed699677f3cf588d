"""What is installed by extras: what works without them, and what is said where one is missing."""

import argparse
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from relo_jax import extras
from relo_jax.commands import main
from relo_jax.extras import EXTRAS
from tests.test_project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def without(packages, code):
    """Runs code in a Python that lacks packages."""
    missing = "".join(f"sys.modules[{package!r}] = None; " for package in packages)
    return subprocess.run([sys.executable, "-c", f"import sys; {missing}{code}"], capture_output=True, text=True)


def test_each_package_of_an_extra_is_known_with_its_extra():
    for extra in ("train", "data", "report"):
        names = {Requirement(line).name.lower().replace("-", "_") for line in PROJECT["optional-dependencies"][extra]}
        known = {package.lower() for package, one in EXTRAS.items() if one == extra}
        assert known <= names <= known | {"matplotlib", "etils"}  # etils: orbax, which tracking needs, brings it


def test_tracking_needs_no_extra():
    packages = set(EXTRAS) - {"optax"}  # Flax needs optax
    done = without(packages, "import relo_jax; relo_jax.track; relo_jax.Tracker.from_pretrained; relo_jax.convert; "
                             "from relo_jax.commands import track; relo_jax.get_config('tiny:rl')")  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("grain.python", "train", "train"),
        ("matplotlib", "demo", "train"),
        ("matplotlib", "report", "report"),
        ("tensorflow_datasets", "data", "data"),
        ("onnxruntime", "export", "export"),
        ("onnxruntime", "track", "onnx"),
    ],
)
def test_a_command_without_its_extra_names_it_in_one_line(module, command, extra, monkeypatch, capsys):
    def run(args):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(main, "parse", lambda argv: argparse.Namespace(command=command, run=run))
    assert main.main([command]) == 1
    package = module.split(".")[0]
    line = f'relo: relo {command} needs {package}, which is not installed: pip install "relo-jax[{extra}]"\n'
    assert capsys.readouterr().err == line


def test_another_missing_module_is_a_defect_and_not_a_users_mistake(monkeypatch):
    def run(args):
        import relo_jax.nowhere  # noqa: F401

    monkeypatch.setattr(main, "parse", lambda argv: argparse.Namespace(command="train", run=run))
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        main.main(["train"])


def test_a_public_name_without_its_extra_names_it():
    done = without(["grain"], "import relo_jax; relo_jax.train_and_evaluate")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: relo_jax.train_and_evaluate needs grain") and "[train]" in last


def test_several_missing_packages_are_named_once_with_the_fewest_extras(monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match=r'onnxruntime and onnx are .*: pip install "relo-jax\[export\]"$'):
        extras.check_installed("onnxruntime", "onnx", "onnxruntime")
