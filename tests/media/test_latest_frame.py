"""The latest frame of a live source; tests/media/test_streams.py tests it with real sources."""

import numpy as np
import pytest

from relo_jax.media import latest_frame


def test_a_defect_in_the_thread_that_reads_is_raised_in_the_thread_that_tracks():
    frame = np.zeros((48, 64, 3), np.uint8)

    def lazy_frames():
        yield lambda: (frame, False)
        raise RuntimeError("a defect")

    reading = latest_frame.Reading(lazy_frames(), lambda: None, 30)
    with (
        latest_frame.latest_frame("camera", reading, None, 0.5, 0) as frames,
        pytest.raises(RuntimeError, match="a defect"),
    ):
        list(frames)
