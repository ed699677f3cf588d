"""Sequences composed from photographs."""

import cv2
import numpy as np
import pytest

from relo_jax.data.compose import Options
from relo_jax.data.photos import Photos, cut, read_photos
from relo_jax.errors import UserError

OPTIONS = Options(num_frames=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for k in range(24):
        small = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
        cv2.imwrite(str(root / f"{k:03d}.png"), cv2.resize(small, (200, 150), interpolation=cv2.INTER_CUBIC))
    return root


def test_sequences_are_functions_of_seed_and_index(folder):
    one, two = (read_photos(folder, 3, "train", OPTIONS)[4] for _ in range(2))
    assert np.array_equal(one.boxes_xywh, two.boxes_xywh)
    assert np.array_equal(one.read_frame(7), two.read_frame(7))
    other = read_photos(folder, 4, "train", OPTIONS)[4]
    assert not np.array_equal(one.read_frame(7), other.read_frame(7))


def test_held_out_photographs_are_never_trained_on(folder):
    train, heldout = (set(read_photos(folder, 0, split).paths) for split in ("train", "heldout"))
    assert len(train) == 21 and len(heldout) == 3
    assert not train & heldout


def test_a_cut_out_shows_the_photograph(folder):
    photo = np.zeros((150, 200, 3), np.uint8)
    photo[:] = (200, 100, 50)
    piece = cut(np.random.default_rng(1), photo).levels[0]
    inside = piece[piece[..., 3] == 255]
    assert len(inside) > 500
    assert (np.abs(inside[:, :3].astype(int) - (200, 100, 50)) <= 1).all()
    assert (piece[piece[..., 3] == 0] == 0).all()


def test_too_few_photographs_or_a_broken_one_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_photos(tmp_path / "none")
    with pytest.raises(UserError, match="has 0 photographs"):
        read_photos(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(UserError, match="broken.jpg: does not decode"):
        Photos((tmp_path / "broken.jpg",), options=OPTIONS)[0]


def test_real_photographs(shared):
    source = read_photos(shared / "data" / "photos", 1, "heldout", OPTIONS)
    s = source[0]
    t = int(np.argmax(s.visible))
    crop, factor = s.crop(t, s.boxes_xywh[t], 4.0, 128)
    assert crop.shape == (128, 128, 3) and factor > 0
    assert crop.std() > 5
