"""Looks come from the weights that made the results, and from no others."""

import json

import numpy as np
import pytest

from relo_jax.checkpoints.load import Loaded
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.eval.report import looks
from relo_jax.eval.results.write import fingerprint
from relo_jax.model import RELO
from relo_jax.tracking.result import Look, Result


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of a small model, which is what every checkpoint has."""
    loaded = Loaded(RELO.from_variant("tiny"), {"params": {"w": np.ones(3)}}, {})
    monkeypatch.setattr(looks, "load_tracker", lambda path: loaded)
    (tmp_path / "run.json").write_text(json.dumps(fingerprint(loaded.model, loaded.variables, {"window_power": 2.5})))
    return tmp_path


def test_a_sequence_is_tracked_with_the_options_of_the_results(results, monkeypatch):
    begun = []
    monkeypatch.setattr(looks, "Tracker", lambda *given: begun.append(given))
    look = Look(
        (0, 0, 1, 1), 1, True, 0, policy=np.ones((2, 2)), value=None, entropy=0, window=None, region=(0, 0, 9, 9)
    )
    given = Result((0, 0, 1, 1), 1, True, 0)
    monkeypatch.setattr(
        looks, "follow", lambda tracker, frames, box, look: zip(frames, [given, *[seen] * 9], strict=False)
    )
    seen = look

    def read_frame(index):
        if index == 3:
            raise UserError("broken")
        return index

    sequence = Sequence("s", np.ones((5, 4)), np.ones(5, bool), read_frame)
    looked = looks.looks_of("runs/x", results)
    assert begun[0][2] == {"window_power": 2.5}
    assert looked(sequence, [0, 2]) == {2: look}  # the first frame's box is given
    assert looked(sequence, [1, 4]) == {1: look}  # nothing after a frame that cannot be read


def test_results_of_other_weights_are_refused(results):
    run = json.loads((results / "run.json").read_text())
    (results / "run.json").write_text(json.dumps({**run, "weights": "0" * 64}))
    with pytest.raises(UserError, match="has results of other weights than runs/x: name the checkpoint"):
        looks.looks_of("runs/x", results)
    (results / "run.json").unlink()
    with pytest.raises(UserError, match=r"has no run.json of relo eval, .*: --heatmap needs it"):
        looks.looks_of("runs/x", results)
