"""Model cards: a checkpoint says where it comes from, also after it was stopped, converted or trained further."""

import json
import subprocess

import jax
import numpy as np
import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import model_card, provenance
from relo_jax.checkpoints.model_card_page import page
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.errors import UserError
from relo_jax.model import RELO
from tests import command
from tests.golden import FIELDS as GOLDEN


def run_config(**fields):
    config = relo_config.starter("rl")
    config.update_from_flattened_dict(fields)
    return relo_config.to_dict(config)


def begin(folder, first_step=0, **fields):
    model_card.begin_training(folder, run_config(**fields), {"encoder": 1_500_000}, "ab12", "cd34", first_step)


def test_the_revision_is_that_of_the_checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git("init")
    assert provenance.revision(package)["changed"] is None  # nothing of it is tracked: as installed below a repository
    git("add", ".")
    git("commit", "-m", "one")
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert provenance.revision(package) == {"revision": head.stdout.strip(), "changed": False}
    (package / "__init__.py").write_text("changed = 1")
    assert provenance.revision(package)["changed"] is True


def test_without_git_nobody_knows_the_revision(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.revision() == {"revision": None, "changed": None}


def test_a_run_that_goes_on_adds_a_session_and_keeps_its_numbers(tmp_path):
    begin(tmp_path)
    assert not (tmp_path / "metrics.json").exists() and "## Numbers" not in (tmp_path / "MODEL_CARD.md").read_text()
    model_card.write_metrics(tmp_path, 100, {"loss": 0.25}, {"greedy_iou": 0.5})
    begin(tmp_path, first_step=100)
    found = model_card.read(tmp_path)
    assert [session["first_step"] for session in found["sessions"]] == [0, 100]
    assert found["data"]["fingerprint"] == "ab12" and found["data"]["held_out_fingerprint"] == "cd34"
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "step": 100, "train": {"loss": 0.25}, "held_out": {"greedy_iou": 0.5},
    }  # fmt: skip
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| greedy_iou | 0.5 |  |" in text and "| loss |  | 0.25 |" in text and "from step 100: " in text
    begin(tmp_path)  # another run in the same place, from its first step
    assert (
        len(model_card.read(tmp_path)["sessions"]) == 1 and "## Numbers" not in (tmp_path / "MODEL_CARD.md").read_text()
    )


def test_a_session_says_code_packages_machine_and_command():
    session = provenance.session(batch=8)
    assert session["batch"] == 8 and session["packages"]["jax"] == jax.__version__
    assert session["code"]["relo_jax"] and "changed" in session["code"] and session["machine"]["devices"]
    assert session["command"] and session["date"].endswith("UTC")


def test_a_run_knows_the_run_that_it_started_from(tmp_path):
    (tmp_path / "warmup").mkdir()
    (tmp_path / "rl").mkdir()
    begin(tmp_path / "warmup", stage="warmup", init_from="starter-warmup")
    begin(tmp_path / "rl", init_from=str(tmp_path / "warmup"))
    parent = model_card.read(tmp_path / "rl")["parent"]
    assert parent["name"] == "warmup" and parent["stage"] == "warmup"
    assert (
        "metrics" not in parent
        and parent["parent"]["name"] == "starter-warmup"
        and len(parent["parent"]["sha256"]) == 64
    )
    assert "Started from `warmup`." in (tmp_path / "rl" / "MODEL_CARD.md").read_text()


def test_a_run_is_known_with_its_numbers(tmp_path):
    (tmp_path / "warmup").mkdir()
    begin(tmp_path / "warmup")
    model_card.write_metrics(tmp_path / "warmup", 100, {"loss": 0.25}, {"greedy_iou": 0.5})
    numbers = {"step": 100, "train": {"loss": 0.25}, "held_out": {"greedy_iou": 0.5}}
    assert model_card.of_checkpoint(tmp_path / "warmup")["metrics"] == numbers
    assert model_card.of_checkpoint(tmp_path / "warmup" / "checkpoints" / "50")["metrics"] == numbers


def test_what_is_known_of_a_checkpoint_without_a_card(fixtures, tmp_path):
    file = model_card.of_checkpoint(fixtures / "relo_tiny.pth.tar")
    assert file["name"] == "relo_tiny.pth.tar" and len(file["sha256"]) == 64
    step = tmp_path / "old" / "checkpoints" / "500"
    step.mkdir(parents=True)
    assert model_card.of_checkpoint(step) == {"name": "old", "step": 500, "kind": "run without a card"}
    (tmp_path / "old" / "card.json").write_text("{")  # damaged
    assert model_card.of_checkpoint(tmp_path / "old") == {"name": "old", "kind": "run without a card"}


def test_a_converted_checkpoint_names_its_file(fixtures, tmp_path):
    fields = [part for field in GOLDEN.items() for part in ("--set", "{}={}".format(*field))]
    command.run("convert", fixtures / "relo_tiny.pth.tar", tmp_path / "out", "--variant", "tiny", *fields)
    found = model_card.read(tmp_path / "out")
    assert found["kind"] == "converted" and found["source"]["name"] == "relo_tiny.pth.tar"
    assert found["source"]["sha256"] == model_card.of_checkpoint(fixtures / "relo_tiny.pth.tar")["sha256"]
    assert "under their terms" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert model_card.of_checkpoint(tmp_path / "out" / "checkpoints" / "0") == {"name": "out", "step": 0, **found}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"card.json", "MODEL_CARD.md", "config.json", "checkpoints"}  # no numbers of a training


def test_parameters_are_counted_by_part():
    variables = abstract_variables(RELO.from_variant("tiny", **GOLDEN))
    counts = model_card.count_parameters(variables)
    assert set(counts) == {"encoder", "regression head", "policy head", "value head"}
    assert sum(counts.values()) == sum(np.size(leaf) for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("stage", "data", "says", "does_not_say"),
    [
        ("warmup", "lasot+got10k", "It cannot track", "relo track"),
        ("rl", "procedural", "drawn by a program", "It cannot track"),
        ("rl", "lasot", "relo track VIDEO", "drawn by a program"),
    ],
)
def test_the_page_says_what_not_to_expect(stage, data, says, does_not_say, tmp_path):
    begin(tmp_path, stage=stage, **{"data.name": data})
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert says in text and does_not_say not in text and "1.5 M parameters" in text
    assert page(model_card.read(tmp_path)) == text


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        model_card.write(tmp_path / "nowhere", {"kind": "trained"})
