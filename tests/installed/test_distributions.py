"""The wheel and the source distribution: what is in them, and what the package's page shows."""

import os
import re
import subprocess
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIST = Path(os.environ["RELO_DIST"])
NOT_IN_THE_SOURCES = {".gitignore"}


@pytest.fixture(scope="module")
def wheel():
    (path,) = DIST.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_has_the_package_its_configs_and_lists_and_no_tests(wheel):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"relo_jax", "relo_jax_configs", "relo_jax_datasets"}
    assert not [name for name in names if re.search(r"(^|/)(tests?/|test_\w+\.py|conftest)", name)]
    checkout = {str(path.relative_to(ROOT)) for path in (ROOT / "relo_jax").rglob("*.py")}
    assert checkout <= set(names)
    assert {f"relo_jax_configs/{path.name}" for path in (ROOT / "configs").glob("*.py")} <= set(names)
    assert {"relo_jax/py.typed", "relo_jax/checkpoints/starter/tiny.msgpack"} <= set(names)
    assert {"relo_jax_datasets/got10k/got10k_dataset_builder.py", "relo_jax_datasets/lasot/test.txt"} <= set(names)


def test_the_packages_page_links_to_the_repository(metadata):
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown" and text.startswith("# relo_jax")
    targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'\b(?:src|srcset|href)="([^"]+)"', text)
    assert targets and not [target for target in targets if not re.match(r"https?:|#|mailto:", target)]
    addresses = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL"))
    assert addresses.keys() >= {"Repository", "Documentation", "Changelog", "Issues"}
    assert {*metadata.get_all("Provides-Extra")} >= {"train", "data", "report", "all"}


def test_the_source_distribution_has_every_file_of_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    (path,) = DIST.glob("*.tar.gz")
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert not {name for name in listed.stdout.splitlines() if (ROOT / name).exists()} - names - NOT_IN_THE_SOURCES
