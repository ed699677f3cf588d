"""The model card as a page names the limits of a checkpoint."""

import pytest

from relo_jax.checkpoints import model_card
from relo_jax.checkpoints.model_card_page import page
from tests.checkpoints.cards import begin


@pytest.mark.parametrize(
    ("stage", "data", "present", "absent"),
    [
        ("warmup", "lasot+got10k", "It cannot track", "relo track"),
        ("rl", "procedural", "drawn by a program", "It cannot track"),
        ("rl", "lasot", "relo track VIDEO", "drawn by a program"),
    ],
)
def test_the_page_names_the_limits(stage, data, present, absent, tmp_path):
    begin(tmp_path, stage=stage, **{"data.name": data})
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert present in text and absent not in text and "1.5 M parameters" in text
    assert page(model_card.read(tmp_path)) == text
