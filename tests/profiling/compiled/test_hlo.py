"""The text of a compiled program: computations, types, loops and branches."""

import pytest

from relo_jax.profiling.compiled import hlo

BRANCHES = """HloModule branches

%short (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %tanh = f32[4]{0} tanh(%p)
}

%long (q: f32[4]) -> f32[4] {
  %q = f32[4]{0} parameter(0)
  %exp = f32[4]{0} exponential(%q)
  ROOT %log = f32[4]{0} log(%exp)
}

ENTRY %main (n: s32[], x: f32[4]) -> f32[4] {
  %n = s32[] parameter(0)
  %x = f32[4]{0} parameter(1)
  ROOT %choice = f32[4]{0} conditional(%n, %x, %x), branch_computations={%short, %long}
}
"""


@pytest.fixture(scope="module", params=["h100", "v5e"])
def module(request, fixtures):
    return hlo.parse((fixtures / "compiled" / f"{request.param}.hlo").read_text())


def test_operands_are_instructions_of_the_same_computation(module):
    assert module.entry in module.computations and len(module.computations) > 10
    for computation in module.computations.values():
        for instruction in computation.values():
            assert set(instruction.operands) <= computation.keys(), instruction.name
            assert set(instruction.called.values()) <= module.computations.keys()
        assert sorted(computation.parameters) == list(range(len(computation.parameters)))


def test_the_body_of_a_loop_counts_as_often_as_it_runs(module):
    """Both compilers' ways to say it: a GPU's program names the number, a TPU's has it in the condition."""
    assert set(module.loops()) == {3}
    (bodies,) = {computation["body"] for computation in [_loop(module).called]}
    assert {times for c, _, times in module.executed() if c is module.computations[bodies]} == {3}
    assert {t for c, _, t in module.executed() if c is module.computations[_loop(module).called["condition"]]} == {4}


def _loop(module):
    return next(i for i in module.computations[module.entry].values() if i.opcode == "while")


def test_of_a_condition_the_longest_branch_counts():
    executed = [instruction.name for _, instruction, _ in hlo.parse(BRANCHES).executed()]
    assert executed == ["n", "x", "q", "exp", "log"]


def test_types():
    nested = "((f32[2,3]{1,0:T(8,128)}), bf16[4]{0:T(8)S(1)}, s32[]{:S(2)}, /*index=3*/pred[5]{0})"
    found = hlo.shapes(nested)
    assert [shape.bytes for shape in found] == [24, 8, 4, 5]
    assert [shape.traffic for shape in found] == [24, 0, 0, 5], "S(1) and above are not the main memory"
    assert hlo.shapes("token[]") == () and hlo.shapes("s4[10]")[0].bytes == 5


def test_a_name_with_quotes_is_read_whole():
    (entry,) = hlo.parse(
        "ENTRY %main (a: f32[2]) -> f32[2] {\n"
        "  ROOT %a = f32[2]{0} parameter(0), metadata={op_name=\"variables[\\'params\\']\" x=1}\n}\n"
    ).computations.values()
    assert entry.root.op_name == "variables[\\'params\\']"
