"""TrackingNet: unpadded frame numbers and missing parts."""

import shutil

import pytest

from relo_jax.data import miniature
from relo_jax.errors import UserError
from tests.data.opened import names, opened


def test_frames_are_in_the_order_of_their_numbers(roots, tmp_path):
    train = opened("trackingnet", "train", roots, tmp_path)
    assert names(train) == ["-0tDKdfmJ2w_0", "AAB6lO-XiKE_0", "_zX_5tDKdfm_1"]
    files = [train[2].where(k).rpartition("/")[2] for k in range(miniature.FRAMES)]
    assert files == [f"{k}.jpg" for k in range(miniature.FRAMES)]


def test_missing_parts_are_named(roots, tmp_path):
    train = opened("trackingnet", "train", roots, tmp_path)
    missing = {problem.where: problem.detail for problem in train.problems}
    assert list(missing) == [f"TRAIN_{k}" for k in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11)] and train.left_out == 0
    assert "still packed" in missing["TRAIN_7"] and "download" in missing["TRAIN_8"]
    assert "30,129 of the published 30,132 are missing; 10 parts are missing (TRAIN_1, TRAIN_2," in train.summary()


def test_packed_frames_alone_are_named(tmp_path):
    miniature.trackingnet(tmp_path)
    for part in ("TRAIN_0", "TRAIN_3"):
        shutil.rmtree(tmp_path / part / "frames")
    with pytest.raises(UserError, match="TRAIN_7: frames are still packed: unpack"):
        opened("trackingnet", "train", tmp_path, tmp_path / "cache")
