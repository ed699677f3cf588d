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


def brightness(frame, policy, region):
    """What `draw_policy` adds to a black frame, of red, green and blue together, without the region's outline."""
    drawn = overlay.draw_policy(frame, policy, region)
    assert drawn.shape == (*frame.shape[:2], 3) and drawn.dtype == np.uint8
    return drawn.astype(int).sum(-1)


@pytest.mark.parametrize("region", [(40, 20, 80, 80), (-40, -20, 80, 80), (120, 80, 80, 80), (-500, -500, 1600, 1600)])
def test_the_policy_is_drawn_where_its_cells_lie(region):
    frame, policy = np.zeros((120, 160), np.uint8), np.zeros((8, 8), np.float32)
    policy[5, 2], policy[2, 5] = 0.9, 0.1
    x, y, w, h = region
    light = brightness(frame, policy, region)
    for row, column, least in ((5, 2, 350), (2, 5, 100)):
        at = round(y + (row + 0.5) * h / 8), round(x + (column + 0.5) * w / 8)
        if 0 <= at[0] < 120 and 0 <= at[1] < 160:
            assert light[at] > least
    assert not frame.any()
    if region[0] > 0:
        assert not light[:10, :30].any()  # outside the region
        target = result((0, 0, 4, 4))
        with_policy = SimpleNamespace(**vars(target), policy=policy, region=region)
        assert (overlay.draw(frame, [target, with_policy]) != overlay.draw(frame, [target, target])).any()


def test_a_sharp_and_a_uniform_policy_leave_the_picture_readable():
    checks = np.kron(np.indices((15, 20)).sum(0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)
    flat, sharp = np.full((16, 16), 1 / 256, np.float32), np.zeros((16, 16), np.float32)
    sharp[8, 8] = 1
    drawn = {name: brightness(checks, policy, (0, 0, 160, 160)) for name, policy in (("flat", flat), ("sharp", sharp))}
    plain = 3 * checks.astype(int)
    haze = np.abs(drawn["flat"] - plain)[20:100, 20:140]
    assert 30 < haze.mean() < 200 and np.ptp(drawn["flat"][20:100, 20:140]) > 400  # seen, and seen through
    assert np.abs(drawn["sharp"] - plain)[20:60, 20:60].max() < 20  # far from the peak nothing is drawn
