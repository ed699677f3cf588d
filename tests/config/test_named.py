"""The configs of the package by name."""

import os
import subprocess
import sys

import pytest

from relo_jax.config import named
from relo_jax.config.command_line import read_config
from relo_jax.errors import UserError
from relo_jax.model import VARIANTS
from tests.config.configs import CONFIGS


def test_every_variant_with_a_config_has_a_name_and_its_file_is_that_of_the_checkout():
    assert set(named.config_names()) == {*VARIANTS, "ablations"} & {*named.config_names()} >= {"b256", "tiny"}
    for name in named.config_names():
        file = "ablations.py" if name == "ablations" else f"relo_{name}.py"
        assert named.config_file(name).samefile(CONFIGS / file)


def test_a_config_is_the_same_by_name_and_by_file():
    by_name = read_config("relo train", "tiny:rl", ["--config.batch_size=4"])
    assert by_name == read_config("relo train", str(CONFIGS / "relo_tiny.py:rl"), ["--config.batch_size=4"])
    assert (by_name.stage, by_name.batch_size) == ("rl", 4)
    assert read_config("relo train", "relo_tiny") == read_config("relo train", "tiny:warmup")


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    text = (CONFIGS / "relo_tiny.py").read_text()
    (tmp_path / "b256").mkdir()  # a run's folder is no config file
    (tmp_path / "mine.py").write_text(
        text.replace("return relo_config.starter(stage)", "return relo_config.paper('rl')")
    )
    monkeypatch.chdir(tmp_path)
    assert read_config("relo train", "b256").model.variant == "b256"
    assert read_config("relo train", "mine.py").stage == "rl"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("b265:rl", "no config is called 'b265' (did you mean 'b256'?)"),
        ("vit", "no config is called 'vit' (known: ablations, b256, l256, mini, s256, t256, tiny)"),
        ("", "no config is called ''"),
        ("elsewhere/relo_b256.py:rl", "relo_b256.py does not exist (--config b256:rl is the package's own)"),
        ("mine.py", "config file mine.py does not exist (by name: ablations, b256,"),
        ("runs/x/config.json", "config file runs/x/config.json does not exist"),
        ("b256:warm", "config.stage is 'warm'"),
    ],
)
def test_a_wrong_name_is_one_line(config, message):
    with pytest.raises(UserError) as error:
        read_config("relo train", config)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_checkout_that_is_not_installed_has_its_configs(tmp_path):
    """As `git clone` and PYTHONPATH make it."""
    code = "from importlib import resources; from relo_jax.config import named; named.PACKAGE = 'not_installed'; "
    code += "print(named.config_file('b256'))"
    environment = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == str(CONFIGS / "relo_b256.py"), done.stderr
