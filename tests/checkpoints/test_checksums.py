"""Checksums: a changed file is named; a step of an older version has none."""

import pytest

from relo_jax.checkpoints import checksums


@pytest.fixture
def step(tmp_path):
    for name in ("variables/d/1", "variables/manifest.ocdbt", "train/d/2", "_CHECKPOINT_METADATA"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 1000)
    checksums.write(tmp_path)
    return tmp_path


def test_a_whole_step_has_no_damage(step):
    (step / "_CHECKPOINT_METADATA").write_text("Orbax writes it again")
    assert checksums.damage(step) is checksums.damage(step, "variables") is None


def test_a_changed_file_is_named_for_those_who_read_its_item(step):
    data = bytearray((step / "train/d/2").read_bytes())
    data[500] ^= 1
    (step / "train/d/2").write_bytes(data)
    assert checksums.damage(step, "variables") is None
    assert checksums.damage(step, "train") == checksums.damage(step) == "train/d/2 is not as it was written"
    (step / "variables/d/1").unlink()
    assert checksums.damage(step, "variables") == "variables/d/1 cannot be read (No such file or directory)"


def test_a_step_without_checksums_is_read_without(step):
    (step / checksums.FILE).unlink()
    (step / "train/d/2").write_bytes(b"")
    assert checksums.damage(step) is None


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\xfe", b'{"variables/d/1": "0"}'])
def test_damaged_checksums_are_damage(step, content):
    (step / checksums.FILE).write_bytes(content)
    assert checksums.damage(step, "variables")
