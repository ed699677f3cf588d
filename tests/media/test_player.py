"""A video in a notebook: inside the page, or a link to it."""

import base64
import gc
import re

import numpy as np
import pytest

from relo_jax.errors import UserError
from relo_jax.media import player, video


@pytest.fixture
def written():
    path, folder = player.temporary_path()
    with video.write_video(path, rate=25) as write:
        for grey in range(6):
            write(np.full((48, 64, 3), 40 * grey, np.uint8))
    return path, folder


def test_a_notebook_plays_the_video_and_links_a_large_one(written, monkeypatch):
    shown = player.Video(*written)
    assert (shown.frames, shown.size, shown.rate) == (6, (64, 48), 25)
    page = shown._repr_html_()
    (data,) = re.findall(r"data:video/mp4;base64,([^\"]+)", page)
    assert page.startswith("<video controls") and base64.b64decode(data) == shown.path.read_bytes()
    monkeypatch.setattr(player, "LARGEST_INLINE", 100)
    page = shown._repr_html_()
    assert "<video" not in page and "<a href=" in page and "video.mp4" in page and "too large" in page


def test_a_saved_video_outlives_the_one_that_was_made(written, tmp_path):
    shown = player.Video(*written)
    saved = shown.save(tmp_path / "out.mp4")
    with pytest.raises(UserError, match=r"ends in \.mp4"):
        shown.save(tmp_path / "out.avi")
    with pytest.raises(UserError, match="nowhere"):
        shown.save(tmp_path / "nowhere" / "out.mp4")
    content = shown.path.read_bytes()
    del shown
    gc.collect()
    assert not written[1].exists()
    assert saved.read_bytes() == content and player.Video(saved).frames == 6
