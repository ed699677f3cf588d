"""Several targets in one batch: the boxes of each alone, one dispatch and one copy of the frame for all of them."""

import json

import jax
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from relo_jax.media import overlay, video
from relo_jax.tracking import follow, track, tracker
from relo_jax.tracking.patches import bucket_side
from relo_jax.tracking.session import track_to_files

BOXES = [(100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0), (180.0, 120.0, 24.0, 36.0)]
OPTIONS = {"window_power": 2.0, "update_interval": 3, "update_threshold": -999.0}


@pytest.fixture(scope="module")
def single(model, variables):
    return tracker.Tracker(model, variables, OPTIONS)


@pytest.fixture(scope="module")
def three(model, variables):
    return tracker.MultiTracker(model, variables, 3, OPTIONS)


@pytest.fixture(scope="module")
def frames(natural_image):
    """Eight frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(8)]


@pytest.fixture(scope="module")
def alone(single, frames):
    """What each of the three gets by itself, `[K, F, 4]`, with template updates on the way."""
    return np.array([[r.box for _, r in follow.follow(single, frames, box)] for box in BOXES])


def together(tracked, frames, chunk=None):
    """Boxes `[K, F, 4]`."""
    followed = [[r.box for r in results] for _, results in follow.follow(tracked, frames, BOXES, chunk)]
    return np.swapaxes(np.array(followed), 0, 1)


def test_each_gets_the_boxes_that_it_gets_alone(three, frames, alone):
    np.testing.assert_allclose(together(three, frames), alone, rtol=0, atol=1e-3)
    assert np.ptp(alone[:, :, 0], axis=1).min() > 1  # they did move


def test_on_an_accelerator_the_frame_goes_over_once_whatever_their_number(model, variables, frames, alone):
    on_device = tracker.MultiTracker(model, variables, 3, OPTIONS, device_crops=True)
    np.testing.assert_allclose(together(on_device, frames), alone, rtol=0, atol=1e-3)
    copies, device_put = [], jax.device_put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "device_put", lambda x, *a, **k: copies.append(x) or device_put(x, *a, **k))
        on_device.update(frames[0])
    ((pixels, place),) = copies
    assert pixels.shape == (bucket_side(240 * 320), 3) and place.shape == (3, 9)


def test_in_chunks_too(three, frames, alone):
    np.testing.assert_allclose(together(three, frames, 5), alone, rtol=0, atol=1e-3)


def test_one_can_begin_anew_while_the_others_go_on(three, single, frames, alone):
    three.init(frames[0], BOXES)
    for frame in frames[1:4]:
        three.update(frame)
    three.init_one(1, frames[3], BOXES[0])
    results = three.update(frames[4])
    single.init(frames[3], BOXES[0])
    np.testing.assert_allclose(results[1].box, single.update(frames[4]).box, rtol=0, atol=1e-3)
    for k in (0, 2):
        np.testing.assert_allclose(results[k].box, alone[k, 4], rtol=0, atol=1e-3)


def test_a_picture_that_is_scaled_takes_its_boxes_with_it(three, frames):
    three.init(frames[0], BOXES)
    three.rescale(0.5, 2.0)
    np.testing.assert_allclose(three.boxes, np.array(BOXES) * [0.5, 2, 0.5, 2])


@pytest.fixture(scope="module")
def saved(model, variables, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, model, variables, OPTIONS)
    return path


def test_track_takes_several_boxes(saved, frames, alone):
    for boxes in (BOXES, np.array(BOXES)):
        results = list(track.track(frames, boxes, saved))
        found = np.array([[r.box for r in row] for row in results])
        np.testing.assert_allclose(np.swapaxes(found, 0, 1), alone, rtol=0, atol=1e-3)


def test_track_gives_a_list_a_frame_for_a_list_of_one_box(saved, frames, alone):
    results = list(track.track(frames, BOXES[:1], saved))
    np.testing.assert_allclose([[r.box for r in row] for row in results], alone[0][:, None], rtol=0, atol=1e-3)


def test_the_command_writes_a_text_a_target_and_one_json(saved, frames, alone, tmp_path, capsys):
    boxes = ["100,80,40,30", *BOXES[1:]]
    out = {"json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt", "save": tmp_path / "o.mp4"}
    track_to_files(frames, boxes, saved, **out)
    said = capsys.readouterr().out
    assert "target 3: mean score 0." in said and "of 8 frames" in said and "o_3.txt" in said
    rows = json.loads(out["json_path"].read_text())["frames"]
    for k in range(3):
        np.testing.assert_allclose([row["targets"][k]["box"] for row in rows], alone[k], atol=2e-3)
        np.testing.assert_allclose(np.loadtxt(tmp_path / f"o_{k + 1}.txt", delimiter=","), alone[k], atol=2e-3)
    with video.open_frames(out["save"]) as drawn:
        picture = next(iter(drawn))
    for box, colour in zip(BOXES, overlay.COLOURS, strict=False):
        x, y, _, h = (round(v) for v in box)
        assert np.abs(picture[y + h // 2, x] - np.array(colour, int)).max() < 60


def test_mistakes_are_one_line(model, variables, three, frames):
    for targets in (0, 1.5, True):
        with pytest.raises(UserError, match="give the number of targets"):
            tracker.MultiTracker(model, variables, targets)
    for boxes in (BOXES[0], BOXES[:2], []):
        with pytest.raises(UserError, match="give 3 boxes"):
            three.init(frames[0], boxes)
    with pytest.raises(UserError, match="has no area"):
        three.init(frames[0], [*BOXES[:2], (5, 5, 0, 5)])
    three.init(frames[0], BOXES)
    with pytest.raises(UserError, match="target 3 is not one of 0 to 2"):
        three.init_one(3, frames[0], BOXES[0])
