"""benchmarks/compiled.py: which cases it compiles, what a failed one leaves, and its tables."""

import json
import subprocess
from types import SimpleNamespace

import jax
import pytest

from benchmarks import compiled, sections_compiled
from relo_jax import config as relo_config
from relo_jax.errors import UserError
from relo_jax.profiling.compiled import targets

MACHINE = {"cpu": "CPU", "cores": 2, "device": "cpu: cpu"}
ABOUT = {"machine": MACHINE, "command": "python -m benchmarks.compiled", "date": "2026-11-27 00:20 UTC"}
ROW = {
    "target": "h100", "variant": "t256", "program": "rl", "dtype": "bfloat16", "effort": 0.0, "chips": 1,
    "kernels": 1691, "launches": {"graphs": 52, "outside": 100, "loops": 1}, "gb": 26.431, "tflop": 2.8,
    "roofline_ms": 8.222, "roofline_ms_on_h200": 7.356, "collectives": {}, "longest_chain": 0,
    "memory_gib": {"peak": 0.83, "chip": 79.0}, "compile_seconds": 131.9, **ABOUT,
}  # fmt: skip
ON_TPU = {
    **ROW, "target": "v5e:4x4", "effort": -1.0, "chips": 16, "clips": 16, "launches": None, "longest_chain": 17,
    "collectives": {"all-reduce": {"number": 17, "small": 15, "bytes": 5_112_500}},
}  # fmt: skip
CARD = {
    "stage": "rl", "variant": "t256", "dtype": "bfloat16", "clips": 16, "clip_path": {"ms": {"median": 20.67}},
    "machine": {**MACHINE, "device": "gpu: NVIDIA H200"},
}  # fmt: skip
ARGS = SimpleNamespace(targets="h100,v5e:4x4", variants="t256,b256", only="rl-1,rl", dtype="bfloat16", fast=1, limit=9)


def test_single_clips_are_for_single_chips():
    found = [(target.name, variant, program) for target, variant, program in compiled.cases(ARGS)]
    assert found[:2] == [("h100", "t256", "rl-1"), ("h100", "t256", "rl")]
    assert found[4:] == [("v5e:4x4", "t256", "rl"), ("v5e:4x4", "b256", "rl")]


@pytest.mark.parametrize(("program", "clips"), [("rl", 16), ("warmup", 64)])
def test_a_slice_gets_clips_for_every_chip(program, clips):
    config = relo_config.paper(program)
    assert compiled._clips(program, config, jax.devices()) == clips
    with pytest.raises(UserError, match="does not divide"):
        compiled._clips(program, config, jax.devices()[:7])


def test_a_case_that_fails_leaves_a_row_that_says_why(monkeypatch):
    target, commands = targets.parse("v5e:4x4"), []

    def run(command, timeout, **_):
        commands.append(command)
        if len(commands) == 1:
            raise subprocess.TimeoutExpired(command, timeout)
        return SimpleNamespace(
            stdout="" if len(commands) == 2 else 'noise\n{"kernels": 3}\n',
            stderr="a\nrelo_jax.errors.UserError: no\n",
            returncode=1,
        )

    monkeypatch.setattr(compiled.subprocess, "run", run)
    rows = [compiled.isolated(ARGS, target, "t256", "rl") for _ in range(3)]
    assert rows == [{"failure": "not compiled within 9 s"}, {"failure": "no"}, {"kernels": 3}]
    assert commands[0][-1] == "--fast" and "v5e:4x4" in commands[0]


def test_the_page_has_compiled_beside_measured(monkeypatch):
    failed = {
        **{key: ROW[key] for key in ("target", "dtype", "program")},
        "variant": "l256",
        "failure": "too slow",
        **ABOUT,
    }
    found = {"compiled": [ROW, ON_TPU, failed], "train_step": [CARD, {**CARD, "clips": 1}], "track": []}
    monkeypatch.setattr(sections_compiled, "rows", found.__getitem__)
    page = sections_compiled.compiled()
    assert "| t256 | h100 | 1,691 | 52 | 100 | 26.43 | 2.800 | 8.22 | 7.36 | 20.67 (NVIDIA H200) | 0.83 |" in page
    assert "| v5e:4x4 | 16 | 16 | least | 26.43 | 2.800 | 8.22 | 17 | 5.11 | 17 | 0.83 of 79 | 132 |" in page
    assert "Not compiled:\n\n- RL, 16 clips, clip path, l256, for h100: too slow\n" in page


@pytest.mark.parametrize("name", ["h100", "v5e:2x2"])
def test_a_short_case(name, monkeypatch, capsys):
    target = targets.parse(name)
    if not targets.is_installed(target.platform):
        pytest.skip(f"needs the extra plan-{target.platform}")
    argv = ["compiled", "--targets", name, "--variants", "tiny", "--only", "frame", "--fast", "--here"]
    monkeypatch.setattr("sys.argv", argv)
    compiled.main()
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["kernels"] > 50 and row["tflop"] > 0 and row["fits"] and row["chips"] == 1
    if target.platform == "gpu":
        assert row["launches"] == {"graphs": 1, "outside": 0, "loops": 0}, "one launch by the host a frame"
