"""From a frame on, to a frame, backwards and both ways: each frame's box is the one that a plain run would give."""

import math

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media.film import open_film
from relo_jax.media.frames import Unreadable
from relo_jax.tracking import follow, journey, tracker
from relo_jax.tracking.box_files.tracks import BoxTrack, TrackBox

BOX, SECOND = (100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0)


@pytest.fixture(scope="module")
def pair(tracked):
    return tracker.MultiTracker(tracked.model, tracked._engine.variables, 2, {"window_power": 1.0})


def go(tracked, frames, targets, stop=None, direction="forwards", chunk=None, replay=True):
    """The frames and the results of a journey, and what it says of the frames."""
    with open_film(frames) as film:
        way = journey.Journey(film, targets, stop, direction)
        done = list(way.follow(tracked, chunk, replay=replay))
    return [frame for frame, _ in done], [result for _, result in done], way.frames


def boxes(results):
    return np.array([result.box for result in results])


def straight(tracked, frames, box):
    return boxes([result for _, result in follow.follow(tracked, frames, box)])


def test_forwards_from_a_frame_and_to_a_frame(tracked, frames):
    seen, results, said = go(tracked, frames, [journey.Target([(4, BOX)])], 9)
    assert [id(frame) for frame in seen] == [id(frame) for frame in frames[4:10]]
    assert said.number == 4 and said.count == 6
    np.testing.assert_allclose(boxes(results), straight(tracked, frames[4:10], BOX), rtol=0, atol=1e-3)


def test_backwards_comes_in_the_order_of_the_film(tracked, frames):
    seen, results, said = go(tracked, frames, [journey.Target([(8, BOX)])], 2, "backwards")
    assert [id(frame) for frame in seen] == [id(frame) for frame in frames[2:9]]
    assert said.number == 2 and said.count == 7
    expected = straight(tracked, frames[2:9][::-1], BOX)[::-1]
    np.testing.assert_allclose(boxes(results), expected, rtol=0, atol=1e-3)
    assert results[-1].box == BOX and results[-1].score == 1


@pytest.mark.parametrize("start", [0, 5, 11])
def test_both_ways_cover_the_film(tracked, frames, start):
    seen, results, said = go(tracked, frames, [journey.Target([(start, BOX)])], direction="both")
    assert [id(frame) for frame in seen] == [id(frame) for frame in frames] and said.number == 0
    back = straight(tracked, frames[: start + 1][::-1], BOX)[::-1]
    on = straight(tracked, frames[start:], BOX)
    np.testing.assert_allclose(boxes(results), [*back[:-1], *on], rtol=0, atol=1e-3)
    blank, same, _ = go(tracked, frames, [journey.Target([(start, BOX)])], direction="both", replay=False)
    np.testing.assert_array_equal(boxes(same), boxes(results))
    assert [frame is frames[k] for k, frame in enumerate(blank)] == [k >= start for k in range(12)]


def test_targets_that_begin_later_are_absent_until_then(tracked, pair, frames):
    targets = [journey.Target([(3, BOX)], 7, "bird"), journey.Target([(6, SECOND)], 9)]
    _, results, _ = go(pair, frames, targets)
    first, second = zip(*results, strict=True)
    np.testing.assert_allclose(boxes(first), straight(tracked, frames[3:], BOX), rtol=0, atol=2e-3)
    assert all(math.isnan(result.box[0]) and not result.found and result.score == 0 for result in second[:3])
    np.testing.assert_allclose(boxes(second[3:]), straight(tracked, frames[6:], SECOND), rtol=0, atol=2e-3)


def test_targets_of_different_frames_are_whole_both_ways(tracked, pair, frames):
    _, results, _ = go(pair, frames, [journey.Target([(3, BOX)]), journey.Target([(6, SECOND)])], 10, "both")
    assert len(results) == 11
    for index, (start, box) in enumerate(((3, BOX), (6, SECOND))):
        back, on = straight(tracked, frames[: start + 1][::-1], box)[::-1], straight(tracked, frames[start:11], box)
        np.testing.assert_allclose(boxes([r[index] for r in results]), [*back[:-1], *on], rtol=0, atol=2e-3)
    _, results, _ = go(pair, frames, [journey.Target([(3, BOX)]), journey.Target([(6, SECOND)])], 1, "backwards")
    assert [math.isnan(first.box[0]) for first, _ in results] == [False] * 3 + [True] * 3 and len(results) == 6


@pytest.mark.parametrize("chunk", [None, 3])
def test_a_target_begins_anew_at_every_further_box(tracked, frames, chunk):
    """In chunks only behind the last of them."""
    _, results, _ = go(tracked, frames, [journey.Target([(1, BOX), (5, SECOND), (8, BOX)])], chunk=chunk)
    parts = [straight(tracked, frames[a:b], box) for a, b, box in ((1, 5, BOX), (5, 8, SECOND), (8, 12, BOX))]
    np.testing.assert_allclose(boxes(results), np.concatenate(parts), rtol=0, atol=1e-3)


def test_frames_that_cannot_be_read_have_a_picture_both_ways(tracked, frames):
    film = [Unreadable("gone") if t in (0, 3, 9) else frame for t, frame in enumerate(frames)]
    seen, results, _ = go(tracked, film, [journey.Target([(6, BOX)])], direction="both")
    assert [result.carried for result in results] == [t in (0, 3, 9) for t in range(12)]
    shown = [1, 1, 2, 2, 4, 5, 6, 7, 8, 8, 10, 11]
    assert [id(frame) for frame in seen] == [id(frames[t]) for t in shown]
    film[5] = Unreadable("frame 5 is gone")
    with pytest.raises(UserError, match="frame 5 is gone, but a box belongs to it"):
        go(tracked, film, [journey.Target([(4, BOX), (5, SECOND)])])


@pytest.mark.parametrize(
    ("target", "stop", "direction", "said"),
    [
        ([(4, BOX)], 3, "forwards", "--to is frame 3, before that of a box: tracking goes forwards"),
        ([(4, BOX)], "5", "backwards", "--to is frame 5, after that of a box: tracking goes backwards"),
        ([(4, BOX)], 12, "both", "--to is frame 12: frames has frames 0 to 11"),
        ([(12, BOX)], None, "forwards", "the frame of a box is frame 12: frames has frames 0 to 11"),
        ([(4, BOX)], None, "back", "direction is 'back'.*did you mean 'backwards'"),
    ],
)
def test_a_way_that_leaves_the_film_is_one_line(frames, target, stop, direction, said):
    with open_film(frames) as film, pytest.raises(UserError, match=said):
        journey.Journey(film, [journey.Target(target)], stop, direction)


def track_of(id, *rows):
    return BoxTrack(id, "bird", [TrackBox(frame, box, found=found, key=key) for frame, box, found, key in rows])


def test_the_targets_of_a_file_begin_at_their_first_box_or_in_a_frame():
    first = track_of(3, (0, BOX, False, True), (2, BOX, True, True), (4, SECOND, True, False), (6, SECOND, True, True))
    second = track_of(5, (4, BOX, True, True))
    found = lambda options: journey.targets_of([first, second], "a.xml", **options)
    of = lambda **options: [(target.id, target.boxes) for target in found(options)]
    assert of() == [(3, ((2, BOX),)), (5, ((4, BOX),))]
    assert of(every=True, ids=[3]) == [(3, ((2, BOX), (6, SECOND)))]
    assert of(at=4) == [(3, ((4, SECOND),)), (5, ((4, BOX),))]
    for options, said in (
        ({"ids": [4]}, r"a.xml has no target 4 \(known: 3, 5\)"),
        ({"at": 6}, "target 5 has no box in frame 6, only in 4"),
    ):
        with pytest.raises(UserError, match=said):
            of(**options)
    with pytest.raises(UserError, match="target 1 is found in no frame"):
        journey.targets_of([track_of(1, (0, BOX, False, True))], "a.xml")
