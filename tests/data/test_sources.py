"""Every dataset in its official layout, in miniature: what is found, which frames are visible, what is said of gaps."""

import numpy as np
import pytest

from relo_jax.data import sources
from relo_jax.data.index import open_dataset
from relo_jax.errors import UserError
from tests.data import miniature


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """Folder with every miniature dataset under the name its authors give it."""
    root = tmp_path_factory.mktemp("datasets")
    for name, make in miniature.MAKERS.items():
        make(root / sources.source(name).folders[0])
    return root


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_every_split_reads_and_every_frame_shows_its_box(name, roots, tmp_path):
    for split in sources.source(name).splits:
        dataset = open_dataset(sources.source(name), split, roots, tmp_path)
        assert len({s.name for s in dataset}) == len(dataset) > 0
        for sequence in dataset:
            for k in np.flatnonzero(sequence.visible)[:3]:
                x, y, w, h = sequence.boxes_xywh[k]
                red, green, blue = sequence.read_frame(k)[round(y + h / 2), round(x + w / 2)].astype(int)
                assert green > 180 and blue < 90, (sequence.name, k)


@pytest.mark.parametrize("name", miniature.MAKERS)
def test_an_empty_folder_and_packed_archives_are_named(name, tmp_path):
    source = sources.source(name)
    (tmp_path / "empty").mkdir()
    for split in source.splits:
        with pytest.raises(UserError, match=f"{source.title} is expected as"):
            open_dataset(source, split, tmp_path / "empty", tmp_path / "cache")
        (tmp_path / "packed").mkdir(exist_ok=True)
        (tmp_path / "packed" / "part1.zip").write_bytes(b"PK")
        with pytest.raises(UserError, match=r"1 archives such as part1.zip: unpack"):
            open_dataset(source, split, tmp_path / "packed", tmp_path / "cache")


def test_lasot_hides_occluded_frames_and_those_out_of_view(roots, tmp_path):
    test = open_dataset(sources.source("lasot"), "test", roots, tmp_path)
    train = open_dataset(sources.source("lasot"), "train", roots, tmp_path)
    assert [s.name for s in test] == ["airplane-1", "bear-2"] and [s.name for s in train] == ["airplane-2", "bear-1"]
    assert np.flatnonzero(~test[0].visible).tolist() == [5, 6, 7, 10]
    assert np.isfinite(test[0].boxes_xywh).all() and test[0].category == "airplane"
    assert test.missing == 278 and "278 of the published 280 are not here" in test.summary()
