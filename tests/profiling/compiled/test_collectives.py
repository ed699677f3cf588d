"""Collectives of compiled programs: their sizes, whom they join, and how many wait for each other."""

import pytest

from relo_jax.profiling.compiled import collectives, hlo

GROUPS = """
ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %gather = f32[32,4]{1,0} all-gather(%a), replica_groups=[2,4]<=[8], dimensions={0}
  %start = (f32[8,4]{1,0}, f32[8,4]{1,0}) all-reduce-start(%a), replica_groups={{0,1},{2,3}}, to_apply=%sum
  %done = f32[8,4]{1,0} all-reduce-done(%start)
  %near = f32[8,4]{1,0} collective-permute(%done), source_target_pairs={{0,1},{1,2},{2,3}}
  %mesh = f32[8,4]{1,0} all-reduce(%a), replica_groups=mesh['x'=2,'y'=12] {'x','y':(2)3}, to_apply=%sum
  %apart = f32[8,4]{1,0} all-reduce(%a), to_apply=%sum
  ROOT %all = (f32[8,4]{1,0}, f32[32,4]{1,0}, f32[8,4]{1,0}) tuple(%near, %gather, %apart)
}

%sum (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %s = f32[] add(%x, %y)
}
"""


@pytest.fixture(scope="module")
def module(fixtures):
    return hlo.parse((fixtures / "compiled" / "v5e.hlo").read_text())


def test_each_layer_reduces_its_mean_and_its_gradient(module):
    found = collectives.collectives(module, 99)
    assert {(one.kind, one.devices, one.dtype, one.times) for one in found} == {("all-reduce", 4, "f32", 3)}
    assert sorted(one.bytes for one in found) == [512, 512, 4 * 128 * 128]
    total = 3 * (2 * 512 + 4 * 128 * 128)
    assert collectives.by_kind(found) == {"all-reduce": {"number": 9, "small": 6, "bytes": total}}


def test_the_chain_goes_through_the_layers_and_back(module):
    """A mean in each layer, its gradient in each, and one kernel's gradient: those of the others wait for no other."""
    assert collectives.longest_chain(module) == 3 + 3 + 1


def test_sizes_and_groups():
    module = hlo.parse(GROUPS)
    found = {(one.kind, one.devices): one for one in collectives.collectives(module, 8)}
    gathered, pair, near = found["all-gather", 4], found["all-reduce", 2], found["collective-permute", 3]
    assert (gathered.bytes, gathered.sent) == (512, 512 * 3 / 4), "every device has one part already"
    assert (pair.bytes, pair.sent, near.sent) == (128, 128, 128)
    assert found["all-reduce", 2 * 3].bytes == 128, "an axis, and a part of another"
    assert found["all-reduce", 8].sent == 2 * 128 * 7 / 8, "without groups, all devices"
    assert collectives.longest_chain(module) == 2


def test_one_card_has_none(fixtures):
    module = hlo.parse((fixtures / "compiled" / "h100.hlo").read_text())
    assert not collectives.collectives(module, 1) and collectives.longest_chain(module) == 0
