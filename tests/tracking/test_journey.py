"""From a frame on, to a frame, backwards and both ways: every frame has its box, in the order of the film."""

import math

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media.film import open_film
from relo_jax.media.frames import Unreadable
from relo_jax.tracking import journey, tracker
from relo_jax.tracking.box_files.tracks import BoxTrack, TrackBox
from relo_jax.tracking.result import Result

BOX, SECOND = (100.0, 80.0, 40.0, 30.0), (30.0, 40.0, 50.0, 60.0)
FRAMES = [np.full((240, 320, 3), t, np.uint8) for t in range(12)]


class Steps:
    """In place of a network: a box moves right by a pixel a frame, and its height is the number of the frame."""

    def __init__(self, targets):
        self.targets = targets

    def prepare(self, *_):
        pass

    def init(self, frame, boxes):
        self.now = [list(box) for box in (boxes if isinstance(self, tracker.MultiTracker) else [boxes])]
        assert len(self.now) == self.targets and np.isfinite(self.now).all()

    def init_one(self, index, frame, box):
        self.now[index] = list(box)

    @property
    def boxes(self):
        return np.array(self.now)

    def update(self, frame):
        self.now = [[x + 1, y, w, float(frame[0, 0, 0])] for x, y, w, _ in self.now]
        results = [Result(tuple(box), 0.5, True, 0.0) for box in self.now]
        return results if isinstance(self, tracker.MultiTracker) else results[0]

    def update_chunk(self, frames, length):
        assert len(frames) <= length
        results = [self.update(frame) for frame in frames]
        return lambda: iter(results)


class One(Steps, tracker.Tracker):
    pass


class Two(Steps, tracker.MultiTracker):
    pass


def go(targets, stop=None, direction="forwards", chunk=None, replay=True, frames=FRAMES):
    """The frames and the results of a journey, and what it says of the frames."""
    tracked = One(1) if len(targets) == 1 else Two(len(targets))
    with open_film(frames) as film:
        way = journey.Journey(film, targets, stop, direction)
        done = list(way.follow(tracked, chunk, replay=replay))
    return [frame for frame, _ in done], [result for _, result in done], way.frames


def boxes(results):
    return [result.box for result in results]


def away(box, start, numbers):
    """The boxes of `Steps` in frames, from a box in one of them."""
    x, y, w, h = box
    return [(x + abs(n - start), y, w, float(n) if n != start else h) for n in numbers]


@pytest.mark.parametrize("chunk", [None, 3])
def test_forwards_from_a_frame_and_to_a_frame(chunk):
    seen, results, said = go([journey.Target([(4, BOX)])], 9, chunk=chunk)
    assert [id(frame) for frame in seen] == [id(frame) for frame in FRAMES[4:10]]
    assert said.number == 4 and said.count == 6
    assert boxes(results) == away(BOX, 4, range(4, 10)) and results[0].score == 1


@pytest.mark.parametrize("chunk", [None, 3])
def test_backwards_comes_in_the_order_of_the_film(chunk):
    seen, results, said = go([journey.Target([(8, BOX)])], 2, "backwards", chunk)
    assert [id(frame) for frame in seen] == [id(frame) for frame in FRAMES[2:9]]
    assert said.number == 2 and said.count == 7
    assert boxes(results) == away(BOX, 8, range(2, 9)) and results[-1].score == 1


@pytest.mark.parametrize("start", [0, 5, 11])
def test_both_ways_cover_the_film(start):
    seen, results, said = go([journey.Target([(start, BOX)])], direction="both")
    assert [id(frame) for frame in seen] == [id(frame) for frame in FRAMES] and said.number == 0
    assert boxes(results) == away(BOX, start, range(12))
    blank, same, _ = go([journey.Target([(start, BOX)])], direction="both", replay=False)
    assert boxes(same) == boxes(results)
    assert [frame is FRAMES[k] for k, frame in enumerate(blank)] == [k >= start for k in range(12)]


@pytest.mark.parametrize("chunk", [None, 2])
def test_targets_that_begin_later_are_absent_until_then(chunk):
    targets = [journey.Target([(3, BOX)], 7, "bird"), journey.Target([(6, SECOND)], 9)]
    _, results, _ = go(targets, chunk=chunk)
    first, second = zip(*results, strict=True)
    assert boxes(first) == away(BOX, 3, range(3, 12))
    assert all(math.isnan(result.box[0]) and not result.found and result.score == 0 for result in second[:3])
    assert boxes(second[3:]) == away(SECOND, 6, range(6, 12))


def test_targets_of_different_frames_are_whole_both_ways():
    targets = [journey.Target([(3, BOX)]), journey.Target([(6, SECOND)])]
    _, results, _ = go(targets, 10, "both")
    for index, (start, box) in enumerate(((3, BOX), (6, SECOND))):
        assert boxes([r[index] for r in results]) == away(box, start, range(11))
    _, results, _ = go(targets, 1, "backwards")
    assert [math.isnan(first.box[0]) for first, _ in results] == [False] * 3 + [True] * 3 and len(results) == 6


@pytest.mark.parametrize("chunk", [None, 3])
def test_a_target_begins_anew_at_every_further_box(chunk):
    """In chunks only behind the last of them."""
    _, results, _ = go([journey.Target([(1, BOX), (5, SECOND), (8, BOX)])], chunk=chunk)
    parts = [away(box, a, range(a, b)) for a, b, box in ((1, 5, BOX), (5, 8, SECOND), (8, 12, BOX))]
    assert boxes(results) == sum(parts, [])


def test_frames_that_cannot_be_read_have_a_picture_both_ways():
    film = [Unreadable("gone") if t in (0, 3, 9) else frame for t, frame in enumerate(FRAMES)]
    seen, results, _ = go([journey.Target([(6, BOX)])], direction="both", frames=film)
    assert [result.carried for result in results] == [t in (0, 3, 9) for t in range(12)]
    shown = [1, 1, 2, 2, 4, 5, 6, 7, 8, 8, 10, 11]
    assert [id(frame) for frame in seen] == [id(FRAMES[t]) for t in shown]
    film[5] = Unreadable("frame 5 is gone")
    with pytest.raises(UserError, match="frame 5 is gone, but a box belongs to it"):
        go([journey.Target([(4, BOX), (5, SECOND)])], frames=film)


@pytest.mark.parametrize(
    ("target", "stop", "direction", "said"),
    [
        ([(4, BOX)], 3, "forwards", r"--to \(stop\) is frame 3, before that of a box: tracking goes forwards"),
        ([(4, BOX)], "5", "backwards", r"--to \(stop\) is frame 5, after that of a box: tracking goes backwards"),
        ([(4, BOX)], 12, "both", r"--to \(stop\) is frame 12: frames has frames 0 to 11"),
        ([(12, BOX)], None, "forwards", "the frame of a box is frame 12: frames has frames 0 to 11"),
        ([(4, BOX)], None, "back", "direction is 'back'.*did you mean 'backwards'"),
    ],
)
def test_a_way_that_leaves_the_film_is_one_line(target, stop, direction, said):
    with open_film(FRAMES) as film, pytest.raises(UserError, match=said):
        journey.Journey(film, [journey.Target(target)], stop, direction)


def test_a_film_that_ends_before_the_box_is_one_line():
    with pytest.raises(UserError, match="frames ends before frame 12, which has a box"):
        go([journey.Target([(12, BOX)])], frames=iter(FRAMES))
    with pytest.raises(UserError, match="frames has no frames"):
        go([journey.Target([(0, BOX)])], frames=[])


def track_of(id, *rows):
    return BoxTrack(id, "bird", [TrackBox(frame, box, found=found, key=key) for frame, box, found, key in rows])


def test_the_targets_of_a_file_begin_at_their_first_box_or_in_a_frame():
    first = track_of(
        3,
        (0, BOX, False, True),
        (1, (0, 0, 0, 0), True, True),
        (2, BOX, True, True),
        (4, SECOND, True, False),
        (6, SECOND, True, True),
    )
    second = track_of(5, (4, BOX, True, True))
    found = lambda options: journey.targets_of([first, second], "a.xml", **options)
    of = lambda **options: [(target.id, target.boxes) for target in found(options)]
    assert of() == [(3, ((2, BOX),)), (5, ((4, BOX),))]
    assert of(every=True, ids=[3]) == [(3, ((2, BOX), (6, SECOND)))]
    assert of(at=4) == [(3, ((4, SECOND),)), (5, ((4, BOX),))]
    for options, said in (
        ({"ids": [4]}, r"a.xml has no target 4 \(known: 3, 5\)"),
        ({"ids": [5, 3, 5]}, "a.xml: target 5 is named twice"),
        ({"at": 6}, "target 5 is not found in frame 6, only in 4"),
    ):
        with pytest.raises(UserError, match=said):
            of(**options)
    with pytest.raises(UserError, match="target 1 is found in no frame"):
        journey.targets_of([track_of(1, (0, BOX, False, True))], "a.xml")
