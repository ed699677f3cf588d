"""The official split lists: complete, and read with their ranges and comments."""

import pytest

from relo_jax.data import miniature
from relo_jax.data.datasets import layouts, split_lists
from relo_jax.errors import UserError
from tests.data.opened import opened


@pytest.mark.parametrize("name", ["tnl2k", "uav123", "otb100", "nfs", "vasttrack", "lasot", "lasot_ext"])
def test_the_official_list_is_complete(name):
    names = [line.split()[0] if name == "uav123" else line for line in split_lists.official(name, "test.txt")]
    assert len(names) == len(set(names)) == layouts.dataset_layout(name).splits["test"]


def test_an_official_list_that_is_not_installed_is_named(tmp_path, monkeypatch):
    miniature.lasot_ext(tmp_path)
    monkeypatch.setattr(split_lists, "dataset_folder", lambda name: tmp_path / "data" / name)
    with pytest.raises(UserError, match=r"data/lasot_ext/test.txt: this official list is missing: install relo_jax"):
        opened("lasot_ext", "test", tmp_path, tmp_path / "cache")


def test_a_line_of_a_list_may_stand_for_several_names(tmp_path):
    (tmp_path / "list.txt").write_text("# a comment\nbear-1..3,7  # another\n\nbear-03\n4,9..10\nHalf-Life\n")
    names = ["bear-1", "bear-2", "bear-3", "bear-7", "bear-03", "4", "9", "10", "Half-Life"]
    assert split_lists.read_list(tmp_path / "list.txt") == names


@pytest.mark.parametrize(
    "line", ["../../etc", "/etc/passwd", "a/../../b", "..", "C:\\data", "\\\\host\\x", "~/x", "bear/.."]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"bear-1\n{line}\n")
    with pytest.raises(UserError, match=r"list.txt, line 2: .* leads out of the folder of the list"):
        split_lists.read_list(tmp_path / "list.txt")


@pytest.mark.parametrize("line", ["a-1..300000000", "a-1..9" + "9" * 5000, "a-1..600000,1..600000"])
def test_a_list_is_bounded(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"list.txt, line 1: .* the list has more than 1,000,000 names"):
        split_lists.read_list(tmp_path / "list.txt")


def test_control_characters_are_no_names(tmp_path):
    (tmp_path / "list.txt").write_text("bear\x1b[31m-1\n")
    with pytest.raises(UserError, match=r"list.txt, line 1: .* is not the name of a sequence"):
        split_lists.read_list(tmp_path / "list.txt")
