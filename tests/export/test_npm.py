"""The packages of the page come from npm or from a folder, in one version, unchanged."""

import base64
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from relo_jax.errors import UserError
from relo_jax.export import npm

FILES = {"runtime.mjs": "dist/runtime.min.mjs"}


def packed(folder: Path, content: str) -> npm.Package:
    """A package as npm packs it, in a folder."""
    (folder / "package/dist").mkdir(parents=True)
    (folder / "package/dist/runtime.min.mjs").write_text(content)
    with tarfile.open(folder / "runtime-1.2.0.tgz", "w:gz") as tar:
        tar.add(folder / "package", "package")
    digest = hashlib.sha512((folder / "runtime-1.2.0.tgz").read_bytes()).digest()
    return npm.Package("runtime", "1.2.0", base64.b64encode(digest).decode(), FILES)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "out").mkdir()
    return tmp_path / "cache/relo_jax/npm"


def test_npm_fetches_an_archive_once_and_it_is_checked(tmp_path, cache, monkeypatch):
    package, calls = packed(tmp_path / "registry", "the real one"), []

    def pack(command, cwd, **how):
        calls.append(command[1:3])
        Path(cwd, package.archive).write_bytes((tmp_path / "registry" / package.archive).read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(npm.shutil, "which", lambda name: name)
    monkeypatch.setattr(npm.subprocess, "run", pack)
    for _ in range(2):
        npm.copy(package, FILES, tmp_path / "out")
    assert (tmp_path / "out/runtime.mjs").read_text() == "the real one"
    assert calls == [["pack", "runtime@1.2.0"]]
    # A changed archive is fetched again; if npm gives a changed one, nothing is copied.
    (cache / package.archive).write_bytes(b"changed")
    npm.copy(package, FILES, tmp_path / "out")
    assert len(calls) == 2
    packed(tmp_path / "other", "something else")
    other = npm.Package("runtime", "1.2.0", "AAAA", FILES)
    with pytest.raises(UserError, match="runtime-1.2.0.tgz is not the archive that relo_jax was tested with"):
        npm.copy(other, FILES, tmp_path / "out")


def test_without_npm_or_a_network_one_line_says_what_to_do(tmp_path, cache, monkeypatch):
    package = packed(tmp_path / "registry", "the real one")
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs runtime@1.2.0, .* install Node.js, or give .* by --node-modules"):
        npm.copy(package, FILES, tmp_path / "out")
    failed = subprocess.CompletedProcess([], 1, "", "npm error code ENOTFOUND\nnpm error network\n")
    monkeypatch.setattr(npm.shutil, "which", lambda name: name)
    monkeypatch.setattr(npm.subprocess, "run", lambda *command, **how: failed)
    with pytest.raises(UserError, match=r"cannot fetch runtime@1.2.0 \(npm error code ENOTFOUND\): is there a network"):
        npm.copy(package, FILES, tmp_path / "out")


def test_a_folder_of_installed_packages_must_have_the_version(tmp_path, cache):
    package, installed = packed(tmp_path / "registry", "the real one"), tmp_path / "node_modules/runtime"
    with pytest.raises(UserError, match="node_modules has no runtime: npm install runtime@1.2.0"):
        npm.copy(package, FILES, tmp_path / "out", tmp_path / "node_modules")
    (installed / "dist").mkdir(parents=True)
    for version in ("1.3.0", "1.2.0"):
        (installed / "package.json").write_text(json.dumps({"version": version}))
        if version != package.version:
            with pytest.raises(UserError, match="is version 1.3.0, and the page is made for 1.2.0: npm install"):
                npm.copy(package, FILES, tmp_path / "out", tmp_path / "node_modules")
    with pytest.raises(UserError, match="runtime has no dist/runtime.min.mjs: npm install runtime@1.2.0"):
        npm.copy(package, FILES, tmp_path / "out", tmp_path / "node_modules")
    (installed / "dist/runtime.min.mjs").write_text("installed")
    npm.copy(package, FILES, tmp_path / "out", tmp_path / "node_modules")
    assert (tmp_path / "out/runtime.mjs").read_text() == "installed"
