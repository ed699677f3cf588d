"""Made-up weights pass for the real files."""

import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import convert, reader
from relo_jax.model import RELO
from relo_jax.study.rehearsal import weights


@pytest.fixture(scope="module")
def model():
    return RELO.from_variant("tiny", width=16, depth=1, heads=2, head_width=8)


def test_the_imagenet_file_has_an_encoder_of_its_own_and_a_classifier(model, tmp_path):
    weights.write_imagenet(tmp_path / "a.pt", model)
    file = reader.load(tmp_path / "a.pt")
    assert list(file) == ["model"] and convert.find(tmp_path / "a.pt").kind == convert.PRETRAINED
    assert file["model"]["pos_embed"].shape == (1, 14 * 14, 16) and file["model"]["head.weight"].shape == (1000, 16)
    assert not [name for name in file["model"] if "token" in name or name.startswith(("encoder", "decoder"))]
    assert (np.asarray(file["model"]["blocks.0.norm2.weight"]) == 1).all()
    assert np.asarray(file["model"]["patch_embed.proj.weight"]).std() == pytest.approx(0.02, rel=0.1)


def test_the_released_file_gives_everything_with_a_trained_policy(model, tmp_path):
    weights.write_released(tmp_path / "a.pth.tar", model)
    found = convert.convert(tmp_path / "a.pth.tar", model)
    assert found.kind == convert.RELO_KIND and not found.fresh
    assert found.variables["batch_stats"]["policy"]["bn0"]["mean"].any()
    assert (found.variables["batch_stats"]["value"]["bn0"]["var"] == 1).all()
    assert found.unused and all("num_batches_tracked" in name for name in found.unused)
