"""Attributes of sequences are read from their benchmarks' files and lists."""

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import attributes, layouts, split_lists
from relo_jax.data.datasets.attributes import attributes_of
from relo_jax.errors import UserError


def test_uav123_has_twelve_attributes_in_the_order_of_its_flags(tmp_path):
    miniature.uav123(tmp_path / "UAV123")
    of_sequence = attributes_of(layouts.dataset_layout("uav123"), tmp_path, ["truck4_1", "uav6", "unknown"])
    assert of_sequence == {name: ("Aspect Ratio Change", "Background Clutter") for name in ("truck4_1", "uav6")}
    assert len(attributes.UAV123) == 12


@pytest.mark.parametrize("folder", ["att", "annos/att", "LaSOT_Evaluation_Toolkit/annos/att"])
@pytest.mark.parametrize("name", ["lasot", "lasot_ext"])
def test_lasot_has_fourteen_attributes_next_to_its_toolkit(folder, name, tmp_path):
    layout = layouts.dataset_layout(name)
    assert attributes_of(layout, tmp_path, ["airplane-1"]) == {}
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "airplane-1.txt").write_text("0,1,0,0,0,1,0,0,1,0,0,0,1,0\n")
    assert attributes_of(layout, tmp_path, ["airplane-1"]) == {
        "airplane-1": ("Partial Occlusion", "Rotation", "Scale Variation", "Low Resolution")
    }
    (tmp_path / folder / "airplane-1.txt").write_text("0,1\n")
    with pytest.raises(UserError, match="airplane-1.txt: expected 14 flags, 0 or 1"):
        attributes_of(layout, tmp_path, ["airplane-1"])


def test_every_sequence_of_otb_has_the_attributes_of_its_folder(tmp_path):
    names = split_lists.official("otb100", "test.txt")
    of_sequence = attributes_of(layouts.dataset_layout("otb100"), tmp_path, names)
    assert set(of_sequence) == set(names)
    counts = {a: sum(attributes.NAMES[a] in names for names in of_sequence.values()) for a in attributes.OTB}
    assert counts == {
        "IV": 38, "SV": 65, "OCC": 49, "DEF": 44, "MB": 31, "FM": 43, "IPR": 51, "OPR": 64, "OV": 14, "BC": 32,
        "LR": 10,
    }  # fmt: skip
    assert of_sequence["Jogging.2"] == ("Occlusion", "Deformation", "Out-of-Plane Rotation")


def test_a_bucket_has_no_attribute_files_but_lists_still_apply(monkeypatch):
    assert attributes_of(layouts.dataset_layout("uav123"), "gs://bucket/built", ["uav6"]) == {}
    monkeypatch.setenv("RELO_DATA_DIR", "gs://bucket/built")
    assert attributes_of(layouts.dataset_layout("otb100"), None, ["Man"]) == {"Man": ("Illumination Variation",)}


def test_a_benchmark_without_attributes_has_none(tmp_path):
    assert attributes_of(layouts.dataset_layout("got10k"), tmp_path, ["GOT-10k_Val_000001"]) == {}
