"""Sequences composed from photographs."""

import pickle
import shutil

import cv2
import numpy as np
import pytest

from relo_jax.config.data_options import ClipOptions, Options
from relo_jax.data.clips.source import ClipSource, MixturePart, read_note
from relo_jax.data.synthetic.photos import Photos, cut, own_cutout, read_photos
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError

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


def disc(side, radius):
    """An orange disc as a picture with transparency; below it hides another colour."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    picture = np.zeros((side, side, 4), np.uint8)
    picture[..., :3] = (10, 255, 10)
    picture[np.hypot(x, y) <= radius] = (30, 120, 240, 255)  # BGRA
    return picture


@pytest.fixture
def with_cutouts(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "cutouts" / "round").mkdir(parents=True)
    for k in range(10):
        assert cv2.imwrite(str(tmp_path / "cutouts" / "round" / f"{k}.png"), disc(120 + k, 39.6))
    return tmp_path


def test_a_picture_with_transparency_keeps_its_outline_and_its_colours(with_cutouts):
    path = read_photos(with_cutouts).cutouts[0]
    pieces = [own_cutout(np.random.default_rng(k), path) for k in range(40)]
    for piece in pieces:
        # The disc fills the patch but for its border of 3 px, whatever surrounded it in the picture.
        assert piece.outline.min(0) == pytest.approx([3, 3], abs=0.3)
        assert piece.outline.max(0) == pytest.approx([93, 93], abs=0.3)
        assert np.hypot(*(piece.outline - 48).T) == pytest.approx(45, abs=0.9)
        assert piece.levels[0][..., 3].sum() / 255 == pytest.approx(np.pi * 45**2, rel=0.02)
    # Colours are kept multiplied by opacity; divided again, what was hidden does not show at the edge either.
    seen = [piece.levels[0][piece.levels[0][..., 3] > 80].astype(float) for piece in pieces]
    colours = [pixels[:, :3] * 255 / pixels[:, 3:] for pixels in seen]
    own = [pixels for pixels in colours if (np.abs(pixels - (240, 120, 30)) <= 8).all()]
    assert 2 <= len(own) <= 20  # a quarter of them


def test_sequences_have_cut_outs_with_their_own_outline(with_cutouts):
    source = read_photos(with_cutouts, 5, options=OPTIONS)
    assert len(source.cutouts) == 9 and len(source.paths) == 21  # every tenth is held out
    heldout = read_photos(with_cutouts, 5, "heldout", OPTIONS)
    assert len(heldout.cutouts) == 1 and not set(heldout.cutouts) & set(source.cutouts)
    assert np.array_equal(source[3].read_frame(2), read_photos(with_cutouts, 5, options=OPTIONS)[3].read_frame(2))
    without = Photos(source.paths, seed=5, options=OPTIONS)
    assert any(not np.array_equal(source[k].boxes_xywh, without[k].boxes_xywh) for k in range(4))


def test_what_is_no_cut_out_is_named(with_cutouts):
    path = with_cutouts / "cutouts" / "plain.png"
    specks = np.zeros((960, 960, 4), np.uint8)
    specks[::64, ::64] = 255
    for picture, reason in (
        (disc(50, 20)[..., :3], "plain.png: has no transparency"),
        (np.zeros((50, 50, 4), np.uint8), "plain.png: nothing in it is opaque"),
        (specks, "plain.png: nothing in it is opaque"),
    ):
        assert cv2.imwrite(str(path), picture)
        with pytest.raises(UserError, match=reason):
            own_cutout(np.random.default_rng(0), path)
    for content in (b"no", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="plain.png: does not decode"):
            own_cutout(np.random.default_rng(0), path)


def test_too_few_photographs_or_a_broken_one_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_photos(tmp_path / "none")
    with pytest.raises(UserError, match="has 0 photographs"):
        read_photos(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(UserError, match="broken.jpg: does not decode"):
        Photos((tmp_path / "broken.jpg",), options=OPTIONS)[0]


def test_a_broken_photograph_costs_its_clips_and_no_more(folder, tmp_path):
    """They are replaced and counted; the failure comes out of a worker process as what it is."""
    shutil.copytree(folder, tmp_path / "photos")
    (tmp_path / "photos" / "001.png").write_bytes(b"no")
    photos = [read_photos(root, 0, "train", OPTIONS) for root in (folder, tmp_path / "photos")]
    whole, torn = (ClipSource([MixturePart("photos", p)], ClipOptions(1, 2, 16, 32), 0) for p in photos)
    assert whole.fingerprint() != torn.fingerprint()
    failed = 0
    for index in range(12):
        told = read_note(torn[index]["note"])
        failed += bool(told)
        assert all((dataset, reason) == ("photos", "undecodable image") for dataset, reason, _ in told)
        assert np.array_equal(torn[index]["search_images"], whole[index]["search_images"]) == (not told)
    assert 0 < failed < 12
    error = pickle.loads(pickle.dumps(FrameError("missing frame", "a.jpg", "no such image")))
    assert (str(error), error.reason, error.where) == ("a.jpg: no such image", "missing frame", "a.jpg")


def test_photographs_are_known_by_their_names_and_sizes_wherever_they_lie(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    digest = lambda root: read_photos(root, 0, "train", OPTIONS).files_digest
    assert digest(tmp_path / "copy") == digest(folder)
    (tmp_path / "copy" / "link.png").symlink_to(tmp_path / "nothing")
    assert digest(tmp_path / "copy") != digest(folder)
    (tmp_path / "copy" / "link.png").unlink()
    (tmp_path / "copy" / "000.png").rename(tmp_path / "copy" / "x.png")
    assert digest(tmp_path / "copy") != digest(folder)


def test_real_photographs(shared):
    source = read_photos(shared / "data" / "photos", 1, "heldout", OPTIONS)
    s = source[0]
    t = int(np.argmax(s.visible))
    crop, factor = s.read_crop(t, s.boxes_xywh[t], 4.0, 128)
    assert crop.shape == (128, 128, 3) and factor > 0
    assert crop.std() > 5
