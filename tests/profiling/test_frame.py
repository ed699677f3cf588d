"""`relo profile`: parameters and arithmetic of a model, and the cost of a frame on this machine."""

import json
import re

import jax.numpy as jnp
import pytest

from relo_jax.commands import main as cli
from relo_jax.profiling import frame
from relo_jax.profiling.flops import matmul_flops


def test_the_command_prints_the_cost_of_a_frame(tmp_path, capsys):
    out, trace = tmp_path / "row.json", tmp_path / "trace"
    arguments = ["--variant", "tiny", "--frames", "2", "--size", "320x240", "--json", str(out), "--trace", str(trace)]
    assert cli.main(["profile", *arguments]) == 0
    row, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert row["parameters"]["all"] == sum(n for name, n in row["parameters"].items() if name != "all") > 1e6
    assert row["ms_a_frame"] > 0 and row["frames_per_second"] == pytest.approx(1e3 / row["ms_a_frame"], rel=0.01)
    assert 0 < row["share_of_matmul"] < 1.5
    assert f"{row['frames_per_second']:.1f} frames/s" in printed and "encoder" in printed
    assert list(trace.rglob("*.xplane.pb"))
    # The main blocks by hand are most of the arithmetic; XLA counts norms, sums and the crop too.
    width, tokens, depth = 128, 64 + 16 + 2, 6
    block = 2 * tokens * 13 * width**2 + 2 * 2 * 2 * width**2  # k and v of the last frame's two tokens
    block += 2 * 2 * tokens * (tokens + 2) * width
    flops = row["flops_a_frame"]
    assert depth * block < flops["matmul"] < 3 * depth * block
    assert flops["matmul"] < flops["xla_cost_analysis"] < 1.2 * flops["matmul"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "b265"], "unknown variant 'b265' \\(did you mean 'b256'"),
        (["--variant", "tiny", "--frames", "0"], "--frames is 0"),
        (["--variant", "tiny", "--size", "big"], "--size is 'big': give WIDTHxHEIGHT"),
        (["--variant", "tiny", "--size", "20x20"], "at least 200 x 200"),
        (["--variant", "tiny", "--steps", "3"], "relo profile: --steps belongs to relo profile data"),
        (["--config.batch_size=3"], "relo profile: --config.batch_size=3 belongs to relo profile data"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    assert cli.main(["profile", *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("platform", "size", "products"), [("cpu", 2048, 1), ("gpu", 8192, 20), ("tpu", 8192, 20)])
def test_the_rate_of_an_accelerator_is_that_of_chained_products(platform, size, products, monkeypatch):
    counted = []
    monkeypatch.setattr(frame.jax, "default_backend", lambda: platform)
    monkeypatch.setattr(frame.jax.random, "normal", lambda key, shape: jnp.zeros(shape, "bfloat16"))
    monkeypatch.setattr(frame, "timed", lambda run, repeats: counted.append(matmul_flops(run)) or 2.0)
    assert frame.matmul_rate("bfloat16") == counted[0] / 2.0 == products * size**3
