"""The notebooks, as they are stored. `make test-colab` runs them from top to bottom with Colab's versions."""

import ast
import base64
import importlib.util
import json
import subprocess
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

import relo_jax
from relo_jax.media import video
from tests.test_project import ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def cells(name, kind):
    notebook = json.loads((FOLDER / name).read_text())
    return [("".join(cell["source"]), cell) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.fixture(scope="module")
def execute():
    """The module that runs and stores the notebooks."""
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_as_it_ran_and_small(name):
    codes = cells(name, "code")
    assert [cell["execution_count"] for _, cell in codes] == list(range(1, len(codes) + 1))
    outputs = [output for _, cell in codes for output in cell["outputs"]]
    assert outputs and not [output for output in outputs if output["output_type"] == "error"]
    assert (FOLDER / name).stat().st_size < 300_000
    badge, _ = cells(name, "markdown")[0]
    address = f"{REPOSITORY.replace('github.com', 'colab.research.google.com/github')}/blob/main/notebooks/{name}"
    assert f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})" in badge


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_uses_names_that_there_are_and_has_a_short_mode(name, execute):
    sources = [source for source, _ in cells(name, "code")]
    tree = ast.parse("\n".join(sources))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "relo_jax"
    }
    assert used and used <= {*relo_jax.__all__, "__version__"}
    assert sum(f'os.environ.get("{execute.SHORT}")' in source for source in sources) == 1


def test_the_installation_pins_all_that_is_there(tmp_path, monkeypatch):
    (install,) = {cells(name, "code")[0][0] for name in NOTEBOOKS}
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command[1:]))
    exec(install, {})
    assert not ran  # relo_jax is there
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(install, {})
    common = ["-m", "pip", "install", "--quiet", "--constraint", "installed.txt"]
    assert ran == [[*common, "relo-jax[train,report]"]]
    pins = (tmp_path / "installed.txt").read_text().splitlines()
    assert f"jax=={metadata.version('jax')}" in pins and all(Requirement(pin) for pin in pins)
    (tmp_path / "relo_jax").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # of a clone
    exec(install, {})
    assert ran[1] == [*common, f"{tmp_path}[train,report]"]


class Node(dict):
    """A dict with attributes, as those of nbformat."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__


def test_stored_outputs_are_the_last_state_of_bars_and_a_frame_of_films(execute, tmp_path, natural_image):
    with video.write_video(tmp_path / "film.mp4") as write:
        for _ in range(3):
            write(natural_image)
    data = base64.b64encode((tmp_path / "film.mp4").read_bytes()).decode()
    page = f'<video controls><source type="video/mp4" src="data:video/mp4;base64,{data}"></video>'
    bar = Node(output_type="stream", name="stderr", text=" 0%\r 50%\r100%\n")
    again = Node(output_type="stream", name="stderr", text="done\n")
    film = Node(output_type="display_data", data={"text/html": page, "application/json": {}})
    widget = Node(output_type="display_data", data={"text/plain": "0%", execute._WIDGET: {}})
    cell = Node(cell_type="code", metadata={}, outputs=[bar, again, widget, film])
    execute.shrink(Node(metadata={"widgets": {}}, cells=[cell]))
    assert cell.outputs[0].text == "100%\ndone\n"
    assert len(cell.outputs) == 2
    (kind, stored), *others = cell.outputs[1]["data"].items()
    assert kind == "text/html" and not others and len(stored) < 60_000
    assert stored.startswith('<img src="data:image/jpeg;base64,/9j/') and "plays when the cell is run" in stored
