"""The page that tracks in a browser, written beside the graphs: a folder that any web server can serve."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.export import npm
from relo_jax.tracking.example import example

PAGE = Path(__file__).parent / "web"  # its files, as they are written


def write_page(folder: Path, described: dict, node_modules: Path | None = None, webgpu: bool = True) -> None:
    """Adds the page to an exported folder.

    Args:
      folder: of tracker.json and the graphs.
      described: what tracker.json says.
      node_modules: a folder that has the npm packages of `npm.py`; None: npm fetches them.
      webgpu: whether the runtime for WebGPU comes with it, 27 MB, which a browser with an adapter loads instead.

    Raises:
      UserError: the graphs take several targets at a time; see `npm.copy`.
    """
    _check_batch(described["batch"])
    _copy_packages(folder, node_modules, webgpu)
    for file in sorted(PAGE.iterdir()):
        shutil.copyfile(file, folder / file.name)
    film, box = example()
    shutil.copyfile(film, folder / "example.mp4")
    content = {"webgpu": webgpu, "example": {"file": "example.mp4", "box": list(box)}}
    (folder / "page.json").write_text(json.dumps(content, indent=1) + "\n")


def check_page(batch: int, node_modules: Path | None = None, webgpu: bool = True) -> None:
    """Raises the UserErrors of `write_page`, before graphs are made; npm fetches what is missing."""
    _check_batch(batch)
    with tempfile.TemporaryDirectory(prefix="relo-page-") as scratch:
        _copy_packages(Path(scratch), node_modules, webgpu)


def _check_batch(batch: int) -> None:
    if batch != 1:
        raise UserError(f"--web: the page follows one target, and the graphs take {batch}: omit --batch")


def _copy_packages(folder: Path, node_modules: Path | None, webgpu: bool) -> None:
    npm.copy(npm.RUNTIME, npm.RUNTIME.files | (npm.WEBGPU_FILES if webgpu else {}), folder, node_modules)
    npm.copy(npm.FILMS, npm.FILMS.files, folder, node_modules)


def sizes(folder: Path, described: dict) -> str:
    """What a browser loads of a folder with the page, in words."""
    size = lambda names: sum((folder / name).stat().st_size for name in names) / 1e6
    graphs = next(iter(described["graphs"].values()))
    network = [graph["file"] for graph in (graphs["step"], graphs["template"])]
    network += [graph["data"]["file"] for graph in (graphs["step"], graphs["template"]) if "data" in graph]
    page = [*(file.name for file in PAGE.iterdir()), "mediabunny.min.mjs"]
    runtimes = {"WebAssembly": npm.RUNTIME.files}
    if (folder / "ort.webgpu.min.mjs").is_file():
        runtimes["WebGPU"] = npm.WEBGPU_FILES
    runtime = " or ".join(f"{size(files):.1f} MB ({name})" for name, files in runtimes.items())
    return f"page {size(page):.1f} MB, network {size(network):.1f} MB, runtime {runtime}"
