"""The two npm packages of the page: fetched once, in the versions that it was tested with, and checked.

They are in neither the repository nor the wheel: ONNX Runtime's WebAssembly alone is larger than all of relo_jax.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from relo_jax.compilation_cache import cache_folder
from relo_jax.errors import UserError, in_one_line

_TIMEOUT = 600  # seconds for one package


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
      name, version: as npm knows them.
      integrity: sha512 of its archive, in base64, as npm writes it.
      files: what the page needs of it, by the name that it has there.
    """

    name: str
    version: str
    integrity: str
    files: dict[str, str]

    @property
    def archive(self) -> str:
        """The name of its archive."""
        return f"{self.name}-{self.version}.tgz"


_WASM = "ort-wasm-simd-threaded"
RUNTIME = Package(
    "onnxruntime-web", "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    {name: f"dist/{name}" for name in ("ort.wasm.min.mjs", f"{_WASM}.mjs", f"{_WASM}.wasm")},
)  # fmt: skip
# The same with the WebGPU backend.
WEBGPU_FILES = {
    name: f"dist/{name}" for name in ("ort.webgpu.min.mjs", f"{_WASM}.asyncify.mjs", f"{_WASM}.asyncify.wasm")
}
FILMS = Package(
    "mediabunny", "1.61.0",
    "WciPOYwKZwgYkoBKcEK6JzzIf+w5whypPzFdOihOylZ/5Qv19FmNfRnTcaprH+jD136YpEASU30Eb6VNCJiz3A==",
    {"mediabunny.min.mjs": "dist/bundles/mediabunny.min.mjs", "LICENSE.mediabunny": "LICENSE"},
)  # fmt: skip


def copy(package: Package, files: dict[str, str], folder: Path, node_modules: Path | None = None) -> None:
    """Copies files of a package into a folder.

    Args:
      package: which.
      files: name in the folder -> path in the package.
      folder: where to.
      node_modules: a folder that npm installed the package into; None: npm fetches it, once, into the user's cache.

    Raises:
      UserError: npm is missing or cannot fetch it; the package is another version, or its archive another one.
    """
    if node_modules is None:
        with tarfile.open(_archive(package)) as tar:
            for name, path in files.items():
                _write(tar.extractfile(f"package/{path}"), folder / name)
        return
    installed = node_modules / package.name
    try:
        version = json.loads((installed / "package.json").read_text())["version"]
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(f"{node_modules} has no {package.name}: npm install {package.name}@{package.version}") from None
    if version != package.version:
        raise UserError(
            f"{installed} is version {version}, and the page is made for {package.version}: "
            f"npm install {package.name}@{package.version}"
        )
    for name, path in files.items():
        if not (installed / path).is_file():
            raise UserError(f"{installed} has no {path}: npm install {package.name}@{package.version}")
        shutil.copyfile(installed / path, folder / name)


def _write(source, path: Path) -> None:
    with source, open(path, "wb") as file:
        shutil.copyfileobj(source, file)


def _archive(package: Package) -> Path:
    """The package's archive in the user's cache. Raises UserError."""
    cache = cache_folder("npm", "packages of npm")
    if cache is None:
        raise UserError(
            f"there is no folder to keep {package.name} in: give a node_modules that has it by --node-modules"
        )
    path = cache / package.archive
    if not _is_genuine(package, path):
        _fetch(package, cache)
    if not _is_genuine(package, path):
        raise UserError(f"{path} is not the archive that relo_jax was tested with: is it complete? Try again")
    return path


def _is_genuine(package: Package, path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode() == package.integrity


def _fetch(package: Package, cache: Path) -> None:
    npm, what = shutil.which("npm"), f"{package.name}@{package.version}"
    if npm is None:
        raise UserError(
            f"the page needs {what}, which npm fetches, and there is no npm here: install Node.js, or give a "
            "node_modules folder that has it by --node-modules"
        )
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        command = [npm, "pack", what, "--ignore-scripts", "--loglevel=error"]
        try:
            done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise UserError(f"npm has not fetched {what} within {_TIMEOUT} s: is there a network?") from None
        archive = Path(temporary) / package.archive
        if done.returncode or not archive.is_file():
            raise UserError(f"npm cannot fetch {what} ({in_one_line(done.stderr)}): is there a network?")
        os.replace(archive, cache / package.archive)
