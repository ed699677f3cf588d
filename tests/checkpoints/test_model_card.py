"""Model cards: the origin of a checkpoint, through stops, conversion and further training."""

import json

import pytest

from relo_jax.checkpoints import model_card
from relo_jax.errors import UserError
from tests import command
from tests.checkpoints.cards import begin
from tests.golden import FIELDS


def test_a_continued_run_adds_a_session_and_keeps_its_metrics(tmp_path):
    begin(tmp_path)
    assert not (tmp_path / "metrics.json").exists() and "## Numbers" not in (tmp_path / "MODEL_CARD.md").read_text()
    model_card.write_metrics(tmp_path, 100, {"loss": 0.25}, {"greedy_iou": 0.5})
    begin(tmp_path, first_step=100)
    card = model_card.read(tmp_path)
    assert [session["first_step"] for session in card["sessions"]] == [0, 100]
    assert card["data"]["fingerprint"] == "ab12" and card["data"]["held_out_fingerprint"] == "cd34"
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "step": 100, "train": {"loss": 0.25}, "held_out": {"greedy_iou": 0.5},
    }  # fmt: skip
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| greedy_iou | 0.5 |  |" in text and "| loss |  | 0.25 |" in text and "from step 100: " in text
    begin(tmp_path)  # another run in the same place, from its first step
    assert len(model_card.read(tmp_path)["sessions"]) == 1
    assert "## Numbers" not in (tmp_path / "MODEL_CARD.md").read_text()


def test_a_run_names_its_parent(tmp_path):
    (tmp_path / "warmup").mkdir()
    (tmp_path / "rl").mkdir()
    begin(tmp_path / "warmup", stage="warmup", init_from="starter-warmup")
    begin(tmp_path / "rl", init_from=str(tmp_path / "warmup"))
    parent = model_card.read(tmp_path / "rl")["parent"]
    assert parent["name"] == "warmup" and parent["stage"] == "warmup"
    assert "metrics" not in parent
    assert parent["parent"]["name"] == "starter-warmup" and len(parent["parent"]["sha256"]) == 64
    assert "Started from `warmup`." in (tmp_path / "rl" / "MODEL_CARD.md").read_text()


def test_the_card_of_a_run_has_its_metrics(tmp_path):
    (tmp_path / "warmup").mkdir()
    begin(tmp_path / "warmup")
    model_card.write_metrics(tmp_path / "warmup", 100, {"loss": 0.25}, {"greedy_iou": 0.5})
    numbers = {"step": 100, "train": {"loss": 0.25}, "held_out": {"greedy_iou": 0.5}}
    assert model_card.of_checkpoint(tmp_path / "warmup")["metrics"] == numbers
    assert model_card.of_checkpoint(tmp_path / "warmup" / "checkpoints" / "50")["metrics"] == numbers


def test_a_checkpoint_without_a_card(fixtures, tmp_path):
    file = model_card.of_checkpoint(fixtures / "relo_tiny.pth.tar")
    assert file["name"] == "relo_tiny.pth.tar" and len(file["sha256"]) == 64
    step = tmp_path / "old" / "checkpoints" / "500"
    step.mkdir(parents=True)
    assert model_card.of_checkpoint(step) == {"name": "old", "step": 500, "kind": "run without a card"}
    (tmp_path / "old" / "card.json").write_text("{")  # damaged
    assert model_card.of_checkpoint(tmp_path / "old") == {"name": "old", "kind": "run without a card"}


def test_a_converted_checkpoint_names_its_file(fixtures, tmp_path):
    fields = [part for field in FIELDS.items() for part in ("--set", "{}={}".format(*field))]
    command.run("convert", fixtures / "relo_tiny.pth.tar", tmp_path / "out", "--variant", "tiny", *fields)
    card = model_card.read(tmp_path / "out")
    assert list(card["parameters"]) == ["encoder", "regression head", "policy head", "value head"]
    assert card["kind"] == "converted" and card["source"]["name"] == "relo_tiny.pth.tar"
    assert card["source"]["sha256"] == model_card.of_checkpoint(fixtures / "relo_tiny.pth.tar")["sha256"]
    assert "under their terms" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert model_card.of_checkpoint(tmp_path / "out" / "checkpoints" / "0") == {"name": "out", "step": 0, **card}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"card.json", "MODEL_CARD.md", "config.json", "checkpoints"}  # no metrics of a training


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        model_card.write(tmp_path / "nowhere", {"kind": "trained"})
