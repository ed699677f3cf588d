"""Kernels of compiled programs: their kinds, the bytes that they move, and their rooflines."""

import dataclasses

import pytest

from relo_jax.profiling.compiled import cost, hlo, targets

LAYER = 2 * 128 * 128  # bytes of a kernel in bfloat16

UPDATE = """
%in_place (a: f32[10,100], b: f32[1,100], i: s32[]) -> f32[10,100] {
  %a = f32[10,100]{1,0} parameter(0)
  %b = f32[1,100]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %twice = f32[1,100]{1,0} add(%b, %b)
  ROOT %u = f32[10,100]{1,0} dynamic-update-slice(%a, %twice, %i, %i)
}

ENTRY %main (a: f32[10,100], b: f32[1,100], i: s32[]) -> f32[10,100] {
  %a = f32[10,100]{1,0} parameter(0)
  %b = f32[1,100]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %fused = f32[10,100]{1,0} fusion(%a, %b, %i), kind=kLoop, calls=%in_place
  %near = f32[10,100]{1,0:S(1)} add(%fused, %fused)
  %slice = f32[2,100]{1,0} slice(%fused), slice={[0:2], [0:100]}
  %view = f32[1000]{0} bitcast(%fused)
  %far = f32[10,100]{1,0} negate(%near)
  ROOT %copied = f32[1000]{0} copy(%view)
}
"""


@pytest.fixture(scope="module")
def gpu(fixtures):
    return cost.kernels(hlo.parse((fixtures / "compiled" / "h100.hlo").read_text()))


def test_kernels_have_kinds(gpu):
    kinds = cost.by_kind(gpu)
    assert kinds["product"] == 9 and kinds["convolution"] == kinds["attention"] == 1
    assert sum(kinds.values()) == sum(kernel.times for kernel in gpu) == 33


def test_of_the_stacked_weights_a_loop_reads_one_layer_each_time(gpu):
    (sliced,) = (kernel for kernel in gpu if kernel.op_name.endswith("/dynamic_slice"))
    assert (sliced.times, sliced.kind) == (3, "copy")
    assert sliced.bytes == 2 * LAYER + 4, "read, written, and the index"


def test_flash_attention_moves_its_inputs_once_and_no_logits(gpu):
    (attention,) = (kernel for kernel in gpu if kernel.kind == "attention")
    assert attention.bytes == 2 * (2 * 64 * 4 * 32) * 2, "query, key and value are one array here; and the result"


def test_an_update_in_place_costs_the_update():
    found = {kernel.name: kernel for kernel in cost.kernels(hlo.parse(UPDATE))}
    assert found["fused"].bytes == 400 + 4 + 400
    assert found["near"].bytes == 4000, "the result stays on the chip, outside the main memory"
    assert found["far"].bytes == 4000, "and is read there"
    assert found["slice"].bytes == 2 * 800 and found["copied"].bytes == 2 * 4000
    assert "view" not in found and found["copied"].kind == found["slice"].kind == "copy"


def test_what_a_tpu_keeps_on_the_chip_costs_no_traffic(fixtures):
    text = (fixtures / "compiled" / "v5e.hlo").read_text()
    moved = lambda text: sum(kernel.times * kernel.bytes for kernel in cost.kernels(hlo.parse(text)))
    assert moved(text) < 0.5 * moved(text.replace("S(1)", ""))


def test_the_roofline_is_the_longer_of_traffic_and_arithmetic():
    chip = dataclasses.replace(targets.CHIPS["h100"], flops=1e12, bandwidth=1e9, float32=0.5)
    kernel = cost.Kernel("k", "product", 2, 1000, 1_000_000, 0, "", "")
    assert kernel.seconds(chip) == (2e-6, 2e-6)
    wide = dataclasses.replace(kernel, float32_flops=1_000_000)
    assert wide.seconds(chip) == (2e-6, 4e-6), "float32 at half the rate"
