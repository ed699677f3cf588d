"""Checkpoints on a hub: what is uploaded loads equal to the bit, only what is needed comes down, mistakes are one line.

The hub is `hub_server.Hub` on the loopback; the client is the real huggingface_hub.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relo_jax.checkpoints import hub, model_card
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import export
from relo_jax.errors import UserError
from tests import command
from tests.checkpoints.checks import assert_same, one_line
from tests.checkpoints.hub_server import READER, TOKEN, Hub, Repo

client = pytest.importorskip("huggingface_hub")
pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub without repositories, for a user who may write, with an empty cache."""
    server, constants = Hub(), client.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fetch.cache_clear()
    yield server
    server.close()
    hub.fetch.cache_clear()


@pytest.fixture(scope="module")
def file(model, variables, tmp_path_factory):
    """A safetensors file as `relo push` writes it."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    export.write(path, model, variables, {"model": model.config.to_dict(), "tracker": {"window_power": 1.5}})
    return path


@pytest.fixture(scope="module")
def weights(file):
    return file.read_bytes()


@pytest.fixture
def repo(server, weights):
    """A repository with a checkpoint and much else."""
    repo = server.repos["ours/relo"] = Repo()
    card = json.dumps({"kind": "trained", "variant": "tiny", "stage": "rl"}).encode()
    repo.commit("main", {"model.safetensors": weights, "card.json": card, "README.md": b"#", "film.mp4": b"0" * 9999})
    return repo


def test_what_is_pushed_loads_as_it_was(server, saved, variables, capsys):
    command.run("push", saved, "hf://ours/relo", "--license", "cc-by-nc-4.0", "--private")
    said = capsys.readouterr().out
    assert (
        "uploaded: README.md" in said and "model.safetensors" in said and "see http" in said and "licence" not in said
    )
    repo = server.repos["ours/relo"]
    assert repo.private
    _, files = repo.at("main")
    assert set(files) == {"model.safetensors", "README.md", "card.json", "config.json"}
    page = files["README.md"].decode()
    assert page.startswith("---\nlibrary_name: relo_jax\nlicense: cc-by-nc-4.0\n")
    assert 'from_pretrained("hf://ours/relo")' in page and "THIS_FOLDER" not in page
    assert set(server.headers) == {page}  # the hub checks the header before it takes the commit
    for path in ("hf://ours/relo", "hf://ours/relo@main"):
        loaded = checkpoint.load(path)
        assert_same(loaded.variables, variables)
        assert loaded.config["tracker"] == {"window_power": 1.5}
    assert json.loads(files["config.json"])["tracker"] == {"window_power": 1.5}


def test_a_push_without_a_licence_says_so_and_a_branch_is_a_place_of_its_own(server, file, capsys):
    command.run("push", file, "hf://ours/relo@next")
    assert "names no licence" in capsys.readouterr().out
    repo = server.repos["ours/relo"]
    assert not repo.at("main")[1] and "model.safetensors" in repo.at("next")[1]
    assert "license:" not in repo.at("next")[1]["README.md"].decode()
    command.run("push", file, "hf://ours/relo@next", "--message", "again")  # where all of it is there already


def test_only_weights_and_card_come_down_and_only_once(server, repo, weights):
    path = hub.fetch("hf://ours/relo")
    assert path.read_bytes() == weights
    assert sorted(server.downloads()) == ["card.json", "model.safetensors"]
    card = model_card.of_checkpoint("hf://ours/relo")
    assert card["variant"] == "tiny" and card["name"] == "hf://ours/relo" and len(card["sha256"]) == 64
    hub.fetch.cache_clear()  # as in another process
    hub.fetch("hf://ours/relo")
    assert len(server.downloads()) == 2


def test_a_revision_is_what_it_names_also_after_a_push(server, repo, weights):
    first, _ = repo.at("main")
    repo.commit("main", {"model.safetensors": b"later"})
    repo.branches["v1"] = first
    assert hub.fetch(f"hf://ours/relo@{first}").read_bytes() == weights
    assert hub.fetch("hf://ours/relo@v1").read_bytes() == weights
    assert hub.fetch("hf://ours/relo").read_bytes() == b"later"
    one_line(hub.fetch, "hf://ours/relo@v2", match="hf://ours/relo@v2: it has no branch, tag or commit 'v2'")


def test_a_file_of_the_release_on_the_hub_is_read(server, repo, fixtures, model, variables):
    repo.commit("main", {"relo/RELO_ep0090.pth.tar": (fixtures / "relo_tiny.pth.tar").read_bytes()})
    assert_same(checkpoint.load("hf://ours/relo@main/relo/RELO_ep0090.pth.tar", model).variables, variables)
    assert server.downloads() == ["relo/RELO_ep0090.pth.tar"]


def test_without_network_the_cache_serves(server, repo, monkeypatch):
    path = hub.fetch("hf://ours/relo")
    hub.fetch.cache_clear()
    monkeypatch.setattr(client.constants, "HF_HUB_OFFLINE", True)
    asked = len(server.log)
    assert hub.fetch("hf://ours/relo") == path and len(server.log) == asked
    one_line(hub.fetch, "hf://ours/other", match="not in the cache, and HF_HUB_OFFLINE=1 forbids the network")
    one_line(command.run, "push", "starter-tiny", "hf://ours/new", match="HF_HUB_OFFLINE=1 forbids the network")


def test_a_hub_that_does_not_answer_is_one_line(server, repo, file, monkeypatch):
    path = hub.fetch("hf://ours/relo")
    hub.fetch.cache_clear()
    server.close()
    client.close_session()  # its connections
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client tries again, with growing pauses
    assert hub.fetch("hf://ours/relo") == path  # from the cache
    one_line(hub.fetch, "hf://ours/other", match="not in the cache, and http://127.0.0.1:.* does not answer")
    one_line(command.run, "push", file, "hf://ours/new", match="cannot be reached .*HF_ENDPOINT")


def test_a_private_repository_needs_a_token_that_may_read_it(server, repo, monkeypatch):
    repo.private = True
    monkeypatch.setenv("HF_TOKEN", READER)
    assert hub.fetch("hf://ours/relo").exists()
    hub.fetch.cache_clear()
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(client.constants, "HF_HUB_CACHE", client.constants.HF_HUB_CACHE + "2")
    monkeypatch.setattr(client.constants, "HF_TOKEN_PATH", "/nowhere")
    private = "hf://ours/relo: .*no such repository: check the name; if it is private, log in with `hf auth login`"
    one_line(hub.fetch, "hf://ours/relo", match=private)
    one_line(command.run, "push", "starter-tiny", "hf://ours/new", match="nobody is logged in: `hf auth login`")
    repo.private, repo.gated = False, True
    one_line(hub.fetch, "hf://ours/relo", match="accept their terms at http://.*/ours/relo, then log in")


def test_a_token_that_may_only_read_cannot_push(server, file, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READER)
    one_line(command.run, "push", file, "hf://ours/relo", match="the token may not do this: .* may write to ours")


def test_what_is_no_checkpoint_is_said_with_what_is_there(server, repo):
    files = repo.commits[repo.branches["main"]]
    del files["model.safetensors"]
    one_line(hub.fetch, "hf://ours/relo", match="hf://ours/relo is not a checkpoint of relo_jax: it has no model.safe")
    files["b256.pth.tar"] = b"1"
    one_line(
        hub.fetch, "hf://ours/relo", match="it has b256.pth.tar: name the file, such as hf://ours/relo/b256.pth.tar"
    )
    one_line(hub.fetch, "hf://ours/relo/b265.pth.tar", match="b265.pth.tar: no such file: it has b256.pth.tar")
    one_line(hub.fetch, "hf://theirs/relo", match="shows no such repository: check the name")
    files["model.safetensors"] = b'{"not": "safetensors"}'
    one_line(checkpoint.load, "hf://ours/relo", match="model.safetensors")


def test_a_download_that_differs_from_what_the_hub_states_is_refused(server, repo, weights):
    server.spoils["model.safetensors"] = weights[:-4] + b"\0\1\2\3"
    one_line(
        hub.fetch, "hf://ours/relo", match="model.safetensors is damaged, its sha256 is .*: remove /.*downloaded again"
    )
    server.spoils = {"card.json": b"x" * len(repo.at("main")[1]["card.json"])}
    one_line(hub.fetch, "hf://ours/relo@main", match="remove")


@pytest.mark.parametrize(
    "address", ["hf://relo", "hf://a/b@", "hf://a/../b", "hf://a/b c", "hf:///a/b", "hf://a/b@x@y"]
)
def test_an_address_is_checked_before_anything_is_asked(address, server):
    one_line(hub.fetch, address, match="is no address on the hub: write hf://org/name")
    assert server.log == []


def test_a_path_of_an_address_is_an_address(server, repo):
    assert hub.is_address(Path("hf://ours/relo")) and not hub.is_address("hf/ours") and not hub.is_address("starter")
    assert hub.fetch(Path("hf://ours/relo")) == hub.fetch("hf://ours/relo")
    assert hub.parse("hf://a/b@refs/pr/3/x/y.pt") == hub.Address("a/b", "refs/pr/3", "x/y.pt")


def test_other_commands_say_what_to_do_with_a_checkpoint_on_the_hub(server, repo, tmp_path, variables):
    one_line(command.run, "calibrate", "--checkpoint", "hf://ours/relo", match="relo convert hf://ours/relo DIR, relo")
    one_line(command.run, "push", "starter-tiny", "hf://ours/relo/x.pt", match="names a file: give .*hf://ours/relo")
    command.run("convert", "hf://ours/relo", tmp_path / "mine.safetensors")
    assert_same(checkpoint.load(tmp_path / "mine.safetensors").variables, variables)


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    hub.fetch.cache_clear()
    with pytest.raises(UserError, match=r"needs the package huggingface_hub, .*: pip install 'relo-jax\[hub\]'"):
        hub.fetch("hf://ours/relo")


def test_the_environment_of_huggingface_hub_counts(server, repo, tmp_path):
    """A process that has only HF_ENDPOINT, HF_HOME and HF_TOKEN."""
    code = "from relo_jax.checkpoints import hub; print(hub.fetch('hf://ours/relo'))"
    repo.private = True
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": READER}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **home}, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path / "home")), done.stderr
