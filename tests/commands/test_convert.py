"""`relo convert`: fields of the model on the command line, tensors left out, and safetensors written."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file

from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert, parameter_map, reader, writer
from relo_jax.errors import UserError
from relo_jax.model import RELO
from relo_jax.study.rehearsal import weights
from tests import command
from tests.checkpoints.files import half, prefixed


def test_fields_of_a_model_may_be_words(fixtures, tmp_path, capsys):
    fixture = fixtures / "relo_tiny.pth.tar"
    fields = ["--set", "heads=3", "--set", "templates=2", "--set", "dtype=bfloat16"]
    command.run("convert", fixture, tmp_path / "out", *fields)
    written = checkpoint.load(tmp_path / "out").model
    assert (written.config.heads, written.config.templates, written.config.dtype) == (3, 2, "bfloat16")
    with pytest.raises(UserError, match="heads is 'three', expected an integer from 1 to 65536"):
        command.run("convert", fixture, tmp_path / "other", "--set", "heads=three")
    for text in ("heads", "=3", "heads="):
        with pytest.raises(SystemExit):
            command.run("convert", fixture, tmp_path / "other", "--set", text)
        assert "is not FIELD=VALUE, such as heads=3" in capsys.readouterr().err


def test_a_run_goes_to_safetensors_and_back(fixtures, tmp_path, capsys):
    given, file, again = tmp_path / "given", tmp_path / "given.safetensors", tmp_path / "again"
    command.run("convert", fixtures / "relo_tiny.pth.tar", given, "--set", "heads=3", "--set", "templates=2")
    command.run("convert", given, file)
    count = len(reader.load(fixtures / "relo_tiny.pth.tar")["net"])
    assert f"variant tiny, all parts: {count} tensors with the release's names, float32" in capsys.readouterr().out
    command.run("convert", file, again)
    first, second = checkpoint.load(given), checkpoint.load(again)
    assert first.model == second.model and first.config == second.config
    jax.tree.map(np.testing.assert_array_equal, first.variables, second.variables)
    command.run("convert", fixtures / "relo_tiny.pth.tar", tmp_path / "direct.safetensors", "--set", "heads=3",
                "--set", "templates=2")  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, load_file(tmp_path / "direct.safetensors"), load_file(file))
    capsys.readouterr()
    command.run("convert", "starter-warmup", tmp_path / "warm.safetensors")
    assert "without policy and value head, which are untrained: 250 tensors" in capsys.readouterr().out
    for arguments, message in [
        ((given, tmp_path / "b"), "given is a checkpoint of relo_jax already: name OUT.safetensors"),
        ((given, file), "given.safetensors exists already"),
        (
            (given, tmp_path / "b.safetensors", "--ignore", "head.*"),
            "--ignore, --variant and --set are for other files",
        ),
        ((given, tmp_path / "b.pt"), "b.pt: files are written as .safetensors, which PyTorch reads too"),
    ]:
        with pytest.raises(UserError, match=message):
            command.run("convert", *arguments)


def test_tensors_without_a_place_are_refused_until_they_are_named(tmp_path, capsys, monkeypatch):
    model = RELO.from_variant("tiny", width=16, depth=1, heads=2, head_width=8)
    abstract = flatten_dict(parameter_map.abstract_variables(model))
    zeros = lambda model, key, without: {path: np.zeros(x.shape) for path, x in abstract.items() if path not in without}
    monkeypatch.setattr(convert, "_initialise", zeros)  # which compiles
    size = ["--set", "heads=2", "--set", "head_width=8"]
    path = tmp_path / "fast_itpn.pt"
    writer.save(path, {"model": prefixed(half(weights.imagenet(model)), "module.")})
    with pytest.raises(UserError, match=r"no place for: head\.\* \(2, classifier\); .* --ignore 'head\.\*'$"):
        command.run("convert", path, tmp_path / "out", *size)
    command.run("convert", path, tmp_path / "out", *size, "--ignore", "head.*")
    text = capsys.readouterr().out
    for line in ("its names begin with 'model.module.'", "tensors in bfloat16, converted to float32 exactly",
                 "not used: head.weight and 1 more (left out by 'head.*')"):  # fmt: skip
        assert line in text
    with pytest.raises(UserError, match="is a pretrained encoder, without the rest of RELO: name a run directory"):
        command.run("convert", path, tmp_path / "out.safetensors", *size, "--ignore", "head.*")
