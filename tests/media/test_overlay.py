"""The overlay on tracked frames."""

from types import SimpleNamespace

import numpy as np
import pytest

from relo_jax.media import overlay


def result(box, found=True):
    return SimpleNamespace(box=box, score=0.87, found=found)


def test_the_overlay_draws_the_boxes_on_a_copy():
    frame = np.zeros((120, 160, 3), np.uint8)
    drawn = overlay.draw(frame, result((40, 50, 60, 40)), truth=(20, 20, 100, 90))
    assert not frame.any()
    assert drawn[70, 40].tolist() == list(overlay.FOUND) and drawn[70, 100].tolist() == list(overlay.FOUND)
    assert drawn[110, 60].min() > 200  # a thin white line, softened at its edges
    assert not drawn[60:80, 60:80].any()  # the target is not covered
    lost = overlay.draw(frame, result((40, 50, 60, 40), found=False))
    assert lost[70, 40].tolist() == list(overlay.LOST)


@pytest.mark.parametrize("box", [(-30, -20, 40, 30), (150, 110, 60, 60), (0, 0, 160, 120), (900, 900, 5, 5)])
def test_the_overlay_draws_boxes_across_the_border(box):
    frame = np.zeros((120, 160, 3), np.uint8)
    assert overlay.draw(frame, result(box), truth=np.full(4, np.nan), label="a label").shape == frame.shape
    tiny = np.zeros((8, 8, 3), np.uint8)
    assert overlay.draw(tiny, result(box), label="a label wider than the picture").shape == tiny.shape


def test_the_score_is_below_a_box_at_the_upper_border():
    frame = np.zeros((120, 160, 3), np.uint8)
    text = overlay.draw(frame, result((40, 0, 60, 40))).astype(int) - overlay.draw(frame, None)
    assert text[42:60, 40:80].any()  # there is no room above the box
