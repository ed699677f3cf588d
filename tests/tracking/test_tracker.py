"""The tracker: equal to the release on real sequences; batches, restarts and mistakes; `relo track` to the file."""

import functools
import json
import os
import signal
import threading
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.procedural import heldout
from relo_jax.errors import UserError
from relo_jax.geometry.boxes import clip_box_xywh, iou_xywh
from relo_jax.geometry.crop import box_from_crop, crop_host
from relo_jax.mdp.action import decode_boxes
from relo_jax.media import video
from relo_jax.media.images import list_images, read_image
from relo_jax.model import RELO
from relo_jax.tracking import confidence, programs, step, track, tracker
from relo_jax.tracking.session import parse_box, track_to_files
from tests.golden import FIELDS as GOLDEN_FIELDS

BOX = (100.0, 80.0, 40.0, 30.0)
# Jitted as the tracker does it, so that the tests compile each of them once.
init_state = jax.jit(step.init_state, static_argnames=("model", "window_power"))
one_step = jax.jit(step.step, static_argnames="model")


@pytest.fixture(scope="module")
def plain(model, variables):
    return tracker.Tracker(model, variables, {"window_power": 1.0})


@pytest.fixture(scope="module")
def updating(model, variables):
    options = {"window_power": 2.0, "update_interval": 5, "update_threshold": -999.0}
    return tracker.Tracker(model, variables, options)


@pytest.fixture(scope="module")
def saved(model, variables, tmp_path_factory):
    """A run directory with the golden weights."""
    path = tmp_path_factory.mktemp("runs") / "golden"
    checkpoint.save_variables(path, model, variables, {"window_power": 1.0})
    return path


@pytest.fixture(scope="module")
def frames(natural_image):
    """Eight frames of a camera that pans over a picture."""
    return [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(8)]


def template(frame, box):
    return programs.template_view(np.array(box), 64, functools.partial(crop_host, frame))


def run(tracked, frames, box=BOX):
    tracked.init(frames[0], box)
    return [tracked.update(frame) for frame in frames[1:]]


@pytest.mark.parametrize("mode", ["plain", "update"])
@pytest.mark.parametrize("name", ["vot15_bag", "Crossing"])
def test_tracking_equals_the_release(name, mode, shared, plain, updating):
    golden = np.load(shared / "golden" / "tracker_tiny.npz")
    boxes, scores = golden[f"{name}_{mode}_boxes"], golden[f"{name}_{mode}_scores"]
    images = list_images(shared / "data" / "otb_mini" / name)[:30]
    results = run(plain if mode == "plain" else updating, [read_image(image) for image in images], boxes[0])
    np.testing.assert_allclose([r.box for r in results], boxes[1:], atol=1e-3)
    np.testing.assert_allclose([r.response for r in results], scores[1:], atol=1e-5)


def test_nothing_is_left_of_the_last_video(plain, frames):
    once = run(plain, frames)
    run(plain, frames[::-1], (10, 10, 60, 60))
    assert run(plain, frames) == once


def test_tokens_are_carried_from_frame_to_frame(plain, frames):
    """The same frame is seen differently with another past."""
    plain.init(frames[0], BOX)
    fresh = plain.update(frames[1])
    plain.init(frames[0], BOX)
    plain.update(frames[4])
    first = programs.first_view(np.array(BOX), 64, functools.partial(crop_host, frames[0]))
    plain._engine.state = plain._engine.state.replace(box_xywh=jnp.asarray(first[2]), crop_window=jnp.asarray(first[3]))
    assert plain.update(frames[1]).response != fresh.response


def test_updates_come_at_their_interval_and_above_their_threshold(model, variables, frames):
    def responses(interval, threshold):
        options = {"window_power": 2.0, "update_interval": interval, "update_threshold": threshold}
        return [r.response for r in run(tracker.Tracker(model, variables, options), frames)]

    never = responses(0, -999.0)
    updated = responses(3, -999.0)
    assert updated[:3] == never[:3] and updated[3] != never[3]
    assert responses(3, never[2])[3] == never[3]  # above the threshold, not at it
    assert responses(3, max(never)) == never


def test_a_batch_is_tracked_as_each_alone(model, variables, plain, frames):
    """Lockstep: two videos in one batch get the boxes that each gets by itself."""
    starts = [BOX, (30.0, 40.0, 50.0, 60.0)]
    alone = [run(plain, frames[:3], box) for box in starts]
    templates = [template(frames[0], box) for box in starts]
    crops, boxes = (np.concatenate(x) for x in zip(*templates, strict=True))
    state = init_state(model, variables, crops, boxes, window_power=1.0)
    boxes_xywh = np.array(starts)
    for t in (1, 2):
        crops, factors = zip(*(crop_host(frames[t], box, 4.0, 128) for box in boxes_xywh), strict=True)
        state, result = one_step(model, variables, state, np.stack(crops))
        box = box_from_crop(np.asarray(result.box_cxcywh_norm), boxes_xywh, np.array(factors)[:, None], 128)
        boxes_xywh = clip_box_xywh(box, 240, 320)
        for k in range(2):
            expected = alone[k][t - 1]
            np.testing.assert_allclose(boxes_xywh[k], expected.box, atol=1e-3)
            assert result.response[k] == pytest.approx(expected.response, abs=1e-5)
            assert result.score[k] == pytest.approx(expected.score, abs=1e-5)


def test_step_is_greedy_under_the_window(model, variables, frames):
    """Argmax of window times raw logits; the box of that cell; the score does not see the window."""
    crops, boxes = template(frames[0], BOX)
    search = crop_host(frames[1], BOX, 4.0, 128)[0][None]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, 9) / 9)

    @jax.jit
    def by_hand(variables):
        templates = model.apply(variables, crops[:, None], boxes[:, None], method="encode_templates")
        templates = jnp.tile(templates, (1, 2, 1))
        features, _ = model.apply(
            variables, templates, search, model.initial_tokens(1), jnp.ones(1, bool), method="frame"
        )
        logits = model.apply(variables, features, method="policy_logits")[0]
        action = jnp.argmax(np.outer(hann, hann).ravel() ** 2 * logits)
        size, offset = model.apply(variables, features, method="boxes")
        return logits, action, decode_boxes(size[0], offset[0], action)

    logits, action, box = by_hand(variables)
    _, result = one_step(model, variables, init_state(model, variables, crops, boxes, window_power=2.0), search)
    np.testing.assert_allclose(result.box_cxcywh_norm[0], box, atol=1e-5)
    probability = np.pad(np.asarray(jax.nn.softmax(logits)).reshape(8, 8), 1)
    row, column = divmod(int(action), 8)
    assert result.score[0] == pytest.approx(probability[row : row + 3, column : column + 3].sum(), abs=1e-5)


def test_local_probability_is_that_of_the_cell_and_its_neighbours():
    logits = np.full((3, 16), -20.0, np.float32)
    logits[0, [5, 6]] = 0  # neighbours: one place
    logits[1, [0, 15]] = 0  # opposite corners: two places
    logits[2] = 0  # anywhere
    probability = confidence.local_probability(jnp.asarray(logits), jnp.array([5, 0, 3]), 4)
    np.testing.assert_allclose(probability, [1.0, 0.5, 4 / 16], atol=1e-6)
    # The end of a row is no neighbour of the next row's beginning.
    logits = np.full((1, 16), -20.0, np.float32)
    logits[0, [3, 4]] = 0
    assert confidence.local_probability(jnp.asarray(logits), jnp.array([3]), 4)[0] == pytest.approx(0.5, abs=1e-6)


def test_window_by_hand():
    window = step.hann_window(3, 2.0).reshape(3, 3)
    np.testing.assert_allclose(window, np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(step.hann_window(16, 0.0), 1)


def test_found_follows_the_threshold_after_several_frames(plain, frames, monkeypatch):
    for threshold, found in ((0.0, [True] * 6), (1.0, [True] * 2 + [False] * 4)):
        monkeypatch.setitem(plain.options, "found_threshold", threshold)
        plain.init(frames[0], BOX)
        results = [plain.update(frame) for frame in frames[1:7]]
        assert [result.found for result in results] == found and all(0 < result.score < 1 for result in results)


def test_nothing_is_compiled_after_construction_and_no_transfer_is_implicit(updating, frames, caplog):
    with jax.transfer_guard("disallow"), jax.log_compiles(), caplog.at_level("WARNING"):
        run(updating, frames)  # with a template update on the way
    assert not [r for r in caplog.records if "ompil" in r.getMessage()]


def test_one_copy_to_the_device_a_frame(plain, frames, monkeypatch):
    plain.init(frames[0], BOX)
    plain.update(frames[1])  # the size of the frames is on the device from now on
    copies, device_put = [], jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda x, *a, **k: copies.append(x) or device_put(x, *a, **k))
    with jax.transfer_guard_host_to_device("disallow"):
        plain.update(frames[2])
        plain.update(frames[3])
    assert [(crop.shape, crop.dtype) for crop in copies] == [((1, 128, 128, 3), np.uint8)] * 2


def test_crops_cut_on_the_device_give_the_same_boxes_by_one_dispatch(model, variables, updating, frames, caplog):
    """The frame goes up, one row of numbers comes back; what carries on lies in the buffers it lay in before."""
    options = {"window_power": 2.0, "update_interval": 5, "update_threshold": -999.0}
    on_device = tracker.Tracker(model, variables, options, device_crops=True)
    expected = run(updating, frames)
    on_device.init(frames[0], BOX)  # compiles for the size of its frame
    cache = programs.track_frame._cache_size()
    fetched, device_get = [], jax.device_get
    with pytest.MonkeyPatch.context() as patch, jax.log_compiles(), caplog.at_level("WARNING"):
        patch.setattr(jax, "device_get", lambda x: fetched.append(x) or device_get(x))
        for frame, there in zip(frames[1:], expected, strict=True):
            before = on_device._engine.state
            with jax.transfer_guard("disallow"):
                here = on_device.update(frame)
            assert here.response == pytest.approx(there.response, abs=1e-5)
            np.testing.assert_allclose(here.box, there.box, rtol=0, atol=1e-3)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert [x.shape for x in fetched] == [(1, 7)] * len(expected)
    assert not [r for r in caplog.records if "ompil" in r.getMessage()]
    # Another size in the same bucket compiles nothing; one that was announced is ready before its video.
    on_device.init(frames[0][:230, :300], BOX)
    on_device.update(frames[1][:230, :300])
    assert programs.track_frame._cache_size() == cache
    on_device.prepare(300, 400)
    assert programs.track_frame._cache_size() == cache + 1
    on_device.init(np.zeros((310, 390, 3), np.uint8), BOX)
    on_device.update(np.zeros((310, 390, 3), np.uint8))
    assert programs.track_frame._cache_size() == cache + 1


def test_boxes_stay_in_the_image(plain, natural_image):
    """However badly chosen the start, at least ten pixels remain inside and the box keeps ten pixels of size."""
    rng = np.random.default_rng(0)
    small = np.ascontiguousarray(natural_image[:60, :50])
    for box in ((-20, -20, 25, 25), (45, 55, 200, 100), (0, 0, 1, 1), (-500, 20, 1000, 3)):
        plain.init(small, box)
        for _ in range(3):
            x, y, w, h = plain.update(rng.integers(0, 255, small.shape, dtype=np.uint8)).box
            assert w >= 10 and h >= 10 and 0 <= x <= 40 and 0 <= y <= 50
            assert x + w <= 50 + 1e-5 and y + h <= 60 + 1e-5  # float32


@pytest.mark.parametrize(
    "box, message",
    [
        ((10, 10, 0, 5), "has no area"),
        ((10, 10, 5, -1), "has no area"),
        ((320, 10, 5, 5), "lies outside the frame of 320 x 240"),
        ((10, -8, 5, 8), "lies outside the frame"),
        ((0, 0, 1001, 1000), "far larger than the frame of 320 x 240"),
        ((0, 0, 1e308, 1e308), "far larger than the frame"),
        ((10, np.nan, 5, 5), "is not finite"),
        ((10, 10, 5), "give four numbers"),
        ("abcd", "give four numbers"),
        (None, "give four numbers"),
    ],
)
def test_a_bad_box_is_one_line(plain, frames, box, message):
    with pytest.raises(UserError, match=message) as caught:
        plain.init(frames[0], box)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "frame",
    [None, [1, 2], np.zeros((9, 9, 3)), *(np.zeros(shape, np.uint8) for shape in ((9, 9), (9, 9, 4), (0, 9, 3)))],
)
def test_a_bad_frame_is_one_line(plain, frames, frame):
    with pytest.raises(UserError, match="give a numpy array, uint8"):
        plain.init(frame, BOX)
    plain.init(frames[0], BOX)
    with pytest.raises(UserError, match="give a numpy array, uint8"):
        plain.update(frame)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"windowpower": 2.0}, "did you mean 'window_power'"),
        ({"window_power": "high"}, "expected a finite number"),
        ({"window_power": -1.0}, "^tracker option window_power is -1.0: it must not be negative"),
        ({"update_interval": 2.5}, "^tracker option update_interval is 2.5: give a number of frames"),
    ],
)
def test_a_bad_option_is_one_line(model, variables, options, message):
    with pytest.raises(UserError, match=message):
        tracker.Tracker(model, variables, options)


def test_updates_need_a_second_slot(variables):
    one = RELO.from_variant("tiny", **{**GOLDEN_FIELDS, "templates": 1})
    with pytest.raises(UserError, match="needs a model of two template slots"):
        tracker.Tracker(one, variables, {"update_interval": 5})


def test_update_before_init_is_one_line(saved, frames):
    with pytest.raises(UserError, match="before Tracker.init"):
        tracker.Tracker.from_pretrained(saved).update(frames[0])


def test_weights_that_are_not_finite_are_one_line(model, variables, frames):
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), variables)
    tracked = tracker.Tracker(model, broken, {"window_power": 1.0})
    tracked.init(frames[0], BOX)
    with pytest.raises(UserError, match="box is not finite"):
        tracked.update(frames[1])


def test_track_is_a_generator_over_the_frames(saved, plain, frames):
    stream = iter(frames)
    results = track.track(stream, box=tuple(map(int, BOX)), checkpoint=saved)
    first = next(results)
    assert first.box == BOX and first.score == 1.0 and first.found
    assert all(isinstance(number, float) for number in first.box)
    assert next(results) == run(plain, frames[:2])[0]
    assert len(list(stream)) == len(frames) - 2  # the others were not asked for yet


def test_options_come_with_the_checkpoint_and_can_be_replaced(saved):
    assert tracker.Tracker.from_pretrained(saved).options["window_power"] == 1.0
    assert tracker.Tracker.from_pretrained(saved, window_power=2.0).options["window_power"] == 2.0


@pytest.fixture(scope="module")
def film(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "pan.mp4"
    with video.write_video(path, 25) as write:
        for frame in frames:
            write(frame)
    return path


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_command_writes_film_boxes_and_text(film, saved, tmp_path, capsys):
    out = {"save": tmp_path / "o.mp4", "json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt"}
    track_to_files(film, "100,80,40,30", saved, **out)
    assert names(tmp_path) == ["o.json", "o.mp4", "o.txt"]
    said = capsys.readouterr()
    assert "8 frames, mean score 0." in said.out and "o.json" in said.out and "frames/s" in said.err

    expected = [r.box for r in track.track(film, BOX, saved)]
    np.testing.assert_allclose(np.loadtxt(out["txt_path"], delimiter=","), expected, atol=1e-4)
    written = json.loads(out["json_path"].read_text())
    assert written["source"] == str(film) and [row["frame"] for row in written["frames"]] == list(range(8))
    np.testing.assert_allclose([row["box"] for row in written["frames"]], expected, atol=1e-4)
    with video.open_frames(out["save"]) as overlaid, video.open_frames(film) as original:
        assert overlaid.rate == 25
        x, y, w, h = (round(v) for v in BOX)
        drawn, bare = next(iter(overlaid)).astype(int), next(iter(original)).astype(int)
        assert np.abs(drawn - bare)[y + h, x : x + w].mean() > 30 > np.abs(drawn - bare)[y + 10, x + 10 : x + 30].mean()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"source": "none.mp4"}, "no such video"),
        ({"box": "1,2,3"}, "--box is '1,2,3'"),
        ({"box": "900,80,40,30"}, "lies outside the frame"),
        ({"checkpoint": "nothing-there"}, "no such checkpoint"),
        ({"txt_path": "folder/that/is/not/o.txt"}, "there is no folder"),
        ({"options": {"window_powr": 1.0}}, "did you mean 'window_power'"),
    ],
)
def test_a_command_that_fails_leaves_nothing(film, saved, tmp_path, change, message):
    arguments = {"source": film, "box": BOX, "checkpoint": saved, "txt_path": tmp_path / "o.txt"}
    arguments |= {"save": tmp_path / "o.mp4", "json_path": tmp_path / "o.json"}
    with pytest.raises(UserError, match=message):
        track_to_files(**{**arguments, **change})
    assert names(tmp_path) == []


def test_outputs_do_not_overwrite_each_other_or_the_film(film, saved, tmp_path):
    for out in ({"save": film}, {"save": tmp_path / "o.mp4", "txt_path": tmp_path / "o.mp4"}):
        with pytest.raises(UserError, match="is used twice"):
            track_to_files(film, BOX, saved, **out)


def test_box_on_the_command_line():
    assert parse_box("1,2.5,3,4") == (1, 2.5, 3, 4) and parse_box("0,0,1,1") == (0, 0, 1, 1)
    with pytest.raises(UserError, match="looks like fractions of the frame: give pixels"):
        parse_box("0.4,0.3,0.2,0.5")
    for text in ("", "1,2,3,x", "1 2 3 4", "1,2,3,4,5"):
        with pytest.raises(UserError, match="give x,y,w,h"):
            parse_box(text)


def test_ctrl_c_closes_the_files_properly(saved, frames, tmp_path):
    """As with a camera: the video goes on for ever, Ctrl-C ends it, everything until then is there and readable."""
    pressed = threading.Event()

    def endless():
        for t in range(10**6):
            if t == 20:
                os.kill(os.getpid(), signal.SIGINT)
                pressed.set()
            yield frames[t % len(frames)]

    before = signal.getsignal(signal.SIGINT)
    out = {"save": tmp_path / "o.mp4", "json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt"}
    track_to_files(endless(), BOX, saved, **out)
    assert pressed.is_set() and signal.getsignal(signal.SIGINT) is before
    count = len(json.loads(out["json_path"].read_text())["frames"])
    assert 20 <= count <= 22 and len(np.loadtxt(out["txt_path"], delimiter=",")) == count
    with video.open_frames(out["save"]) as written:
        assert sum(1 for _ in written) == count


def test_ctrl_c_ends_the_wait_for_a_camera_that_hangs(saved, frames, tmp_path, monkeypatch, capsys):
    tracked, interrupted, update = threading.Event(), threading.Event(), tracker.Tracker.update

    def watched(self, frame):
        tracked.set()
        return update(self, frame)

    class Camera:
        """Gives frames until one was tracked, and then hangs."""

        def __init__(self, index):
            pass

        def isOpened(self):
            return True

        def get(self, _):
            return 25.0

        def read(self):
            if tracked.is_set():
                if not interrupted.is_set():  # one Ctrl-C, however often it is asked
                    interrupted.set()
                    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
                time.sleep(3)
                return False, None
            time.sleep(0.05)
            return True, frames[0]

        def release(self):
            pass

    monkeypatch.setattr(tracker.Tracker, "update", watched)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    out = {"save": tmp_path / "o.mp4", "json_path": tmp_path / "o.json", "txt_path": tmp_path / "o.txt"}
    track_to_files(0, BOX, saved, **out, timeout=60, chunk=4)
    said = capsys.readouterr()
    assert "camera 0: interrupted after" in said.out and "--chunk is for files" in said.err
    rows = json.loads(out["json_path"].read_text())["frames"]
    assert len(rows) >= 2 and rows[0]["time"] == 0 and rows[0]["dropped"] == 0
    assert np.loadtxt(out["txt_path"], delimiter=",", ndmin=2).shape == (len(rows), 4)


def test_the_tracker_without_a_checkpoint_follows_and_renews_its_second_template():
    video = heldout(77, 2, Options(num_frames=40, bank_size=24))[1]
    boxes = {}
    for interval in (25, 0):
        tracked = tracker.Tracker.from_pretrained(update_interval=interval)
        tracked.init(video.read_frame(0), video.boxes_xywh[0])
        boxes[interval] = np.array([tracked.update(video.read_frame(t)).box for t in range(1, 30)])
    overlap = [float(iou_xywh(box, truth)) for box, truth in zip(boxes[25], video.boxes_xywh[1:30], strict=True)]
    assert np.mean(overlap) > 0.6
    np.testing.assert_array_equal(boxes[25][:25], boxes[0][:25])
    assert np.abs(boxes[25][25:] - boxes[0][25:]).max() > 0.1
