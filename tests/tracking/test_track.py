"""`relo_jax.track` with a tracker that is there already, and with the frames of the results."""

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.tracking.track import track

BOX = (20.0, 10.0, 12.0, 14.0)


def test_a_tracker_in_place_of_a_checkpoint_begins_anew(tracked, frames):
    once, again = ([result.box for result in track(frames, BOX, tracked)] for _ in range(2))
    assert once == again and len(once) == len(frames)
    with pytest.raises(UserError, match="the boxes are for a MultiTracker of 2 targets, but a Tracker was given"):
        next(track(frames, [BOX, BOX], tracked))
    with pytest.raises(UserError, match="window_power: the tracker has its options already"):
        next(track(frames, BOX, tracked, window_power=2.0))


def test_results_have_their_frame_if_asked(tracked, frames):
    assert all(result.frame is None for result in track(frames, BOX, tracked))
    for results in (track(frames, BOX, tracked, frames=True), track(frames, BOX, tracked, frames=True, stop=2)):
        for result, frame in zip(results, frames, strict=False):
            np.testing.assert_array_equal(result.frame, frame)
