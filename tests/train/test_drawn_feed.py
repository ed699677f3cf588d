"""Drawn batches: in order, the same after a restart and on any number of devices."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relo_jax.train.drawn_feed import DrawnFeed


def draw(first, count, assets, part):
    """Clips of four frames that say which they are."""
    numbers = first + jnp.arange(count)
    frames = part[0] * (4 // part[1]) + jnp.arange(4 // part[1])
    return {"template_images": assets[0] + numbers, "search_images": 10 * numbers[:, None] + frames}


CLIPS = SimpleNamespace(
    draw=draw, assets=lambda: [np.int32(100)], fields=("template_images", "search_images"), fingerprint=lambda: "a"
)


def mesh(*shape):
    count = int(np.prod(shape))
    return jax.make_mesh(shape, ("data", "frames"), devices=jax.devices()[:count])


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 2), (1, 4)])
def test_devices_draw_their_own_clips_and_frames(shape):
    with DrawnFeed(CLIPS, 4, mesh(*shape)) as feed, jax.transfer_guard("disallow"):
        first, second = next(feed), next(feed)
    assert first.index.tolist() == [0, 1, 2, 3] and second.index.tolist() == [4, 5, 6, 7]
    assert second.arrays["template_images"].tolist() == [104, 105, 106, 107]
    assert second.arrays["search_images"].tolist() == [[10 * k + t for t in range(4)] for k in range(4, 8)]
    assert len(second.arrays["search_images"].addressable_shards) == np.prod(shape)


def test_a_feed_goes_on_where_it_was(capsys):
    with DrawnFeed(CLIPS, 4, mesh(1, 1)) as feed:
        position = next(feed).position_after
        expected = next(feed)
    with DrawnFeed(CLIPS, 4, mesh(2, 1), position) as feed:
        batch = next(feed)
    assert batch.position_before == position and batch.index.tolist() == expected.index.tolist()
    np.testing.assert_array_equal(batch.arrays["search_images"], expected.arrays["search_images"])
    assert not capsys.readouterr().err
    with DrawnFeed(CLIPS, 4, mesh(1, 1), position | {"data": "b"}):
        assert "draws other clips" in capsys.readouterr().err
