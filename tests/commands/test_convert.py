"""`relo convert`: fields of the model on the command line."""

import pytest

from relo_jax.checkpoints import load as checkpoint
from relo_jax.errors import UserError
from tests import command


def test_fields_of_a_model_may_be_words(fixtures, tmp_path, capsys):
    fixture = fixtures / "relo_tiny.pth.tar"
    fields = ["--set", "heads=3", "--set", "templates=2", "--set", "dtype=bfloat16"]
    command.run("convert", fixture, tmp_path / "out", *fields)
    written = checkpoint.load(tmp_path / "out").model
    assert (written.config.heads, written.config.templates, written.config.dtype) == (3, 2, "bfloat16")
    with pytest.raises(UserError, match="heads is 'three', expected a positive integer"):
        command.run("convert", fixture, tmp_path / "other", "--set", "heads=three")
    for text in ("heads", "=3", "heads="):
        with pytest.raises(SystemExit):
            command.run("convert", fixture, tmp_path / "other", "--set", text)
        assert "is not FIELD=VALUE, such as heads=3" in capsys.readouterr().err
