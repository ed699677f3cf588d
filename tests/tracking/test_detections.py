"""Results as Detections of supervision, which need not be installed: a stand-in takes what it would get."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.tracking.detections import to_supervision
from relo_jax.tracking.result import Result

BALL = Result((10.0, 20.0, 30.0, 40.0), 0.9, True, math.nan)
LOST = Result((1.0, 2.0, 3.0, 4.0), 0.1, False, math.nan)
NOT_YET = Result((math.nan,) * 4, 0.0, False, math.nan)


def test_detections_have_corners_scores_and_the_place_of_the_target(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    detections = to_supervision([BALL, NOT_YET, LOST])
    np.testing.assert_array_equal(detections.xyxy, [[10, 20, 40, 60], [1, 2, 4, 6]])
    np.testing.assert_allclose(detections.confidence, [0.9, 0.1])
    assert detections.tracker_id.tolist() == [0, 2] and detections.data["found"].tolist() == [True, False]
    assert LOST.to_supervision().xyxy.tolist() == [[1, 2, 4, 6]]
    assert to_supervision([NOT_YET]).xyxy.shape == (0, 4)


def test_supervision_is_an_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "supervision", raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UserError, match=r"to_supervision needs supervision.*pip install .relo-jax\[supervision\]"):
        to_supervision(BALL)
