"""Pictures of films as arrays; those that are turned and mirrored are in test_video.py."""

import gc

import av
import numpy as np

from relo_jax.media import video


def test_pictures_are_gone_with_their_frames(tmp_path):
    with video.write_video(tmp_path / "film.mp4", 25) as write:
        for shade in range(40):
            write(np.full((48, 64, 3), 5 * shade, np.uint8))
    gc.collect()
    gc.disable()  # it would remove sooner or later what refers to itself
    try:
        with video.open_frames(tmp_path / "film.mp4") as frames:
            most = max(_pictures() for _ in frames)
    finally:
        gc.enable()
    assert most < 8


def _pictures() -> int:
    return sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())
