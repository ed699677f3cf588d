"""XLA's log stays off the terminal where there is only a CPU."""

import os

import pytest

from relo_jax import compilation_cache


@pytest.fixture
def environment(monkeypatch):
    for name in ("TF_CPP_MIN_LOG_LEVEL", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "")  # restored at the end
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("there", "platforms", "level"), [(False, "", "3"), (True, "", None), (True, "cpu", "3")])
def test_the_log_is_off_on_a_cpu_alone(environment, monkeypatch, tmp_path, there, platforms, level):
    monkeypatch.setattr(
        compilation_cache, "_ACCELERATORS", [str(tmp_path / "none"), str(tmp_path) if there else "/none"]
    )
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    compilation_cache.silence_compiler()
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level


def test_a_level_that_the_user_has_set_is_kept(environment, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_ACCELERATORS", [])
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    compilation_cache.silence_compiler()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
