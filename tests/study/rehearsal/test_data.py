"""Miniatures of all datasets are whole, and damage is found."""

import pytest

from relo_jax.study.rehearsal import data
from relo_jax.study.rehearsal.processes import StepFailed


@pytest.fixture
def root(tmp_path):
    assert data.write_miniatures(tmp_path / "data") == "5 training sets, 7 benchmarks"
    return tmp_path / "data"


def test_all_miniatures_pass_their_check_and_damage_does_not(root, tmp_path):
    assert data.check_miniatures(root, tmp_path / "index") == "42 sequences, all 748 frames decoded"
    (root / "NFS" / "bee" / "30" / "bee" / "00003.jpg").write_bytes(b"no picture")
    with pytest.raises(StepFailed, match="NFS test: .*00003.jpg"):
        data.check_miniatures(root, tmp_path / "index")


def test_own_data_must_have_the_training_sets_whole(root, tmp_path):
    with pytest.raises(
        StepFailed, match=r"GOT-10k vottrain: 7,084 of the published 7,086 are missing.*and 17 more pro"
    ):
        data.check_own(root, tmp_path / "index")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StepFailed, match="and 4 more problems"):
        data.check_own(tmp_path / "empty", tmp_path / "index")
