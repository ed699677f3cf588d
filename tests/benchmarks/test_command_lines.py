"""Every benchmark imports from where its parts are today, and explains its flags."""

import importlib
from pathlib import Path

import pytest

import benchmarks

MODULES = sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("*.py") if "main()" in path.read_text())


@pytest.mark.parametrize("name", MODULES)
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 0 and f"python -m benchmarks.{name}" in capsys.readouterr().out


def test_the_make_target_names_benchmarks_that_exist():
    makefile = (Path(benchmarks.__file__).parents[1] / "Makefile").read_text()
    named = {line.split("benchmarks.")[1].split()[0] for line in makefile.splitlines() if "-m benchmarks." in line}
    assert named and named <= set(MODULES)
