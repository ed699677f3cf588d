"""Sequences composed from photographs, and from images with transparency."""

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


def test_held_out_and_training_photographs_are_disjoint(folder):
    train, heldout = (set(read_photos(folder, 0, split).paths) for split in ("train", "heldout"))
    assert len(train) == 21 and len(heldout) == 3
    assert not train & heldout


def test_a_cutout_shows_the_photograph(folder):
    photo = np.zeros((150, 200, 3), np.uint8)
    photo[:] = (200, 100, 50)
    piece = cut(np.random.default_rng(1), photo).levels[0]
    inside = piece[piece[..., 3] == 255]
    assert len(inside) > 500
    assert (np.abs(inside[:, :3].astype(int) - (200, 100, 50)) <= 1).all()
    assert (piece[piece[..., 3] == 0] == 0).all()


def disc(side, radius):
    """An orange disc as an image with transparency; its transparent pixels have another colour."""
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


def test_an_image_with_transparency_keeps_its_outline_and_its_colours(with_cutouts):
    path = read_photos(with_cutouts).cutouts[0]
    pieces = [own_cutout(np.random.default_rng(k), path) for k in range(40)]
    for piece in pieces:
        # The disc fills the patch except for a border of 3 px, whatever surrounds it in the image.
        assert piece.outline.min(0) == pytest.approx([3, 3], abs=0.3)
        assert piece.outline.max(0) == pytest.approx([93, 93], abs=0.3)
        assert np.hypot(*(piece.outline - 48).T) == pytest.approx(45, abs=0.9)
        assert piece.levels[0][..., 3].sum() / 255 == pytest.approx(np.pi * 45**2, rel=0.02)
    # Colours are premultiplied; divided by alpha again, they show nothing of the transparent pixels, even at the edge.
    visible = [piece.levels[0][piece.levels[0][..., 3] > 80].astype(float) for piece in pieces]
    colours = [pixels[:, :3] * 255 / pixels[:, 3:] for pixels in visible]
    original = [pixels for pixels in colours if (np.abs(pixels - (240, 120, 30)) <= 8).all()]
    assert 2 <= len(original) <= 20  # a quarter of them keep their colours


def test_sequences_use_the_images_with_transparency(with_cutouts):
    source = read_photos(with_cutouts, 5, options=OPTIONS)
    assert len(source.cutouts) == 9 and len(source.paths) == 21  # every tenth is held out
    heldout = read_photos(with_cutouts, 5, "heldout", OPTIONS)
    assert len(heldout.cutouts) == 1 and not set(heldout.cutouts) & set(source.cutouts)
    assert np.array_equal(source[3].read_frame(2), read_photos(with_cutouts, 5, options=OPTIONS)[3].read_frame(2))
    without = Photos(source.paths, seed=5, options=OPTIONS)
    assert any(not np.array_equal(source[k].boxes_xywh, without[k].boxes_xywh) for k in range(4))


SPECKS = np.zeros((960, 960, 4), np.uint8)
SPECKS[::64, ::64] = 255


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (disc(50, 20)[..., :3], "has no transparency"),
        (np.zeros((50, 50, 4), np.uint8), "nothing in it is opaque"),
        (SPECKS, "nothing in it is opaque"),
        (b"no", "does not decode"),
        (b"", "does not decode"),
    ],
    ids=["no alpha", "transparent", "specks", "text", "empty"],
)
def test_an_unusable_cutout_is_named(image, message, tmp_path):
    path = tmp_path / "plain.png"
    path.write_bytes(image) if isinstance(image, bytes) else cv2.imwrite(str(path), image)
    with pytest.raises(UserError, match=f"plain.png: {message}"):
        own_cutout(np.random.default_rng(0), path)


def test_too_few_photographs_or_a_broken_one_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_photos(tmp_path / "none")
    with pytest.raises(UserError, match="has 0 photographs; sequences need at least 20"):
        read_photos(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(UserError, match="broken.jpg: does not decode"):
        Photos((tmp_path / "broken.jpg",), options=OPTIONS)[0]


def test_a_broken_photograph_costs_only_its_own_clips(folder, tmp_path):
    """They are replaced and counted; the error survives pickling, as worker processes need."""
    shutil.copytree(folder, tmp_path / "photos")
    (tmp_path / "photos" / "001.png").write_bytes(b"no")
    photos = [read_photos(root, 0, "train", OPTIONS) for root in (folder, tmp_path / "photos")]
    whole, damaged = (ClipSource([MixturePart("photos", p)], ClipOptions(1, 2, 16, 32), 0) for p in photos)
    assert whole.fingerprint() != damaged.fingerprint()
    failed = 0
    for index in range(12):
        noted = read_note(damaged[index]["note"])
        failed += bool(noted)
        assert all((dataset, reason) == ("photos", "undecodable image") for dataset, reason, _ in noted)
        assert np.array_equal(damaged[index]["search_images"], whole[index]["search_images"]) == (not noted)
    assert 0 < failed < 12
    error = pickle.loads(pickle.dumps(FrameError("missing frame", "a.jpg", "no such image")))
    assert (str(error), error.reason, error.where) == ("a.jpg: no such image", "missing frame", "a.jpg")


def test_the_files_digest_depends_on_names_and_sizes_but_not_on_the_location(folder, tmp_path):
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
