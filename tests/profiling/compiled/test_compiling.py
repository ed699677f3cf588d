"""What a compiled program costs on each chip; and, where a compiler is installed, programs of the project."""

import dataclasses
import json
import signal
import threading
from types import SimpleNamespace

import pytest

from relo_jax import interrupts
from relo_jax.errors import UserError
from relo_jax.profiling.compiled import compiling, hlo, launches, programs, targets

CHIP = targets.CHIPS["v5e"]


@pytest.fixture
def compiled(fixtures):
    def made(name, peak=1000, found=None):
        text = (fixtures / "compiled" / f"{name}.hlo").read_text()
        return compiling.Compiled(text, arguments=600, temporary=300, peak=peak, launches=found, seconds=1.5)

    return made


def test_the_roofline_has_kernels_and_collectives(compiled):
    row = compiling.figures(compiled("v5e"), CHIP, 4)
    limits = row["limited_by_ms"]
    sent = 2 * row["collectives"]["all-reduce"]["bytes"] * 3 / 4
    assert limits["collectives"] == pytest.approx(1e3 * sent / CHIP.interconnect, abs=1e-4)
    assert row["roofline_ms"] == pytest.approx(sum(limits.values()), abs=3e-4)
    assert row["longest_chain"] == 7 and row["launches"] is None and json.dumps(row)


def test_each_kernel_takes_the_longer_of_traffic_and_arithmetic(compiled):
    """Slow products make products the limit, a slow memory the traffic."""
    slow = dataclasses.replace(CHIP, flops=1e9)
    limits = compiling.figures(compiled("h100"), slow, 1)["limited_by_ms"]
    assert limits["arithmetic"] == pytest.approx(1e3 * 97.026e6 / 1e9, rel=1e-3) and 0 < limits["memory traffic"] < 0.1
    limits = compiling.figures(compiled("h100"), dataclasses.replace(CHIP, bandwidth=1e6), 1)["limited_by_ms"]
    assert limits["arithmetic"] == 0 and limits["memory traffic"] == pytest.approx(1e3 * 11.514e6 / 1e6, rel=1e-3)


def test_a_program_that_is_larger_than_the_memory_does_not_fit(compiled):
    assert compiling.figures(compiled("h100", CHIP.memory), CHIP, 1)["fits"] is True
    assert compiling.figures(compiled("h100", CHIP.memory + 1), CHIP, 1)["fits"] is False


def test_the_most_expensive_kernels_come_first(compiled):
    found = compiling.most_expensive(compiled("h100"), targets.CHIPS["h100"], 3)
    assert len(found) == 3 and found[0]["kind"] == "product" and found[0]["times"] == 3
    assert [k["ms"] for k in found] == sorted((k["ms"] for k in found), reverse=True)


def test_ctrl_c_does_not_wait_for_the_compiler(monkeypatch):
    over = threading.Event()

    def compile_until_over(_):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert over.wait(60)

    lowered = SimpleNamespace(lower=lambda **_: SimpleNamespace(compile=compile_until_over))
    program = programs.Program(SimpleNamespace(trace=lambda: lowered), (), None, 1, 0)
    monkeypatch.setattr(interrupts, "_left", left := [])
    try:
        with pytest.raises(KeyboardInterrupt):
            compiling.compile_for(targets.parse("v5e:4x4"), program)
        assert left[0].is_alive()
    finally:
        over.set()


def test_what_a_compiler_refuses_is_one_line():
    class Refused:
        def trace(self, *_):
            import jax

            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: it needs 20G of 16G\nmuch more text")

    program = programs.Program(Refused(), (), None, 1, 0)
    with pytest.raises(UserError) as raised:
        compiling.compile_for(targets.parse("v5e:4x4"), program)
    refused = "v5e:4x4: the compiler refuses the program: RESOURCE_EXHAUSTED: it needs 20G of 16G"
    assert str(raised.value).startswith(f"{refused}: more chips, config.model.remat=True or")


@pytest.mark.parametrize("name", ["h100", "v5e:2x2"])
def test_the_fixtures_are_what_the_installed_compiler_makes(name, fixtures, monkeypatch):
    """Kernels and launches of the small programs, where the extra plan-gpu or plan-tpu is installed."""
    target = targets.parse(name)
    if not targets.is_installed(target.platform):
        pytest.skip(f"needs the extra plan-{target.platform}")
    made = _fixture_program(fixtures, target)
    compiled = compiling.compile_for(target, made)
    row = compiling.figures(compiled, target.limits, made.devices)
    expected = hlo.parse((fixtures / "compiled" / f"{target.chip}.hlo").read_text())
    assert hlo.parse(compiled.text).loops() == expected.loops()
    if target.platform == "gpu":
        assert compiled.launches == launches.Launches(graphs=1, outside=20, loops=1)
        assert row["kernels_by_kind"]["product"] == 9 and row["kernels_by_kind"]["attention"] == 1
    else:
        assert row["collectives"]["all-reduce"]["number"] == 9 and row["longest_chain"] == 7


def _fixture_program(fixtures, target):
    import importlib.util

    spec = importlib.util.spec_from_file_location("make", fixtures / "compiled" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make.program(target)
