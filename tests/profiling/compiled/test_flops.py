"""FLOPs of compiled programs, against those that follow from the shapes in `tests/fixtures/compiled/make.py`."""

import itertools

import pytest

from relo_jax.profiling.compiled import hlo
from relo_jax.profiling.compiled.flops import _pairs, flops

PRODUCT = 2 * 256 * 128 * 128
INSIDE = 16 * 3 - 2  # pairs of an output and one of three neighbours, along 16 pixels with one of padding at each end


def total(module):
    found = [(times, flops(module, c, i)) for c, i, times in module.executed()]
    return tuple(sum(times * f[k] for times, f in found) for k in (0, 1))


def test_products_convolution_and_attention_on_a_gpu(fixtures):
    every, wide = total(hlo.parse((fixtures / "compiled" / "h100.hlo").read_text()))
    convolution = 2 * 2 * INSIDE**2 * 64 * 32
    attention = 2 * 2 * (2 * 4) * 64 * 64 * 32
    assert every == 9 * PRODUCT + convolution + attention and wide == 0


def test_products_of_one_chip_of_four(fixtures):
    """Three forward, six backward, of a quarter of 32 rows; their operands are float32 in the program."""
    every, wide = total(hlo.parse((fixtures / "compiled" / "v5e.hlo").read_text()))
    assert every == 9 * 2 * 8 * 128 * 128 and wide >= 0


@pytest.mark.parametrize(
    ("dilate", "stride", "kernel_dilate"), [(1, 1, 1), (1, 2, 1), (2, 1, 1), (3, 2, 2), (1, 1, 2), (1, 3, 2)]
)
def test_only_pixels_that_exist_count(dilate, stride, kernel_dilate):
    for length, size, outputs, low in itertools.product((1, 4, 7), (1, 3), (1, 5), (-1, 0, 2)):
        dilated = {dilate * k for k in range(length)}
        expected = sum(
            o * stride + k * kernel_dilate - low in dilated for o in range(outputs) for k in range(size)
        )  # fmt: skip
        assert _pairs(length, size, outputs, stride, low, dilate, kernel_dilate) == expected


def entry(line, *parameters):
    arguments = "".join(f"  %p{k} = {t} parameter({k})\n" for k, t in enumerate(parameters))
    return hlo.parse(f"ENTRY %main (x: f32[1]) -> f32[1] {{\n{arguments}  ROOT %r = {line}\n}}\n")


@pytest.mark.parametrize(
    ("line", "parameters", "expected"),
    [
        # A TPU's product of each of 6 heads: the heads are a window whose dilation keeps them apart.
        (
            "f32[6,5,7]{2,1,0} convolution(%p0, %p1), window={size=6 pad=5_5 lhs_dilate=7 rhs_reversal=1}, "
            "dim_labels=0bf_0oi->0bf", ["f32[6,5,4]", "f32[6,7,4]"], None,
        ),
        ("f32[2,8,8,5]{3,2,1,0} convolution(%p0, %p1), window={size=2x2 stride=2x2}, dim_labels=b01f_01io->b01f",
         ["bf16[2,16,16,3]", "bf16[2,2,3,5]"], 2 * 2 * 8 * 8 * 5 * 2 * 2 * 3),
        ("f32[2,8,8,6]{3,2,1,0} convolution(%p0, %p1), window={size=1x1}, dim_labels=b01f_01io->b01f, "
         "feature_group_count=3", ["bf16[2,8,8,6]", "bf16[1,1,2,6]"], 2 * 2 * 8 * 8 * 6 * 2),
        ('(f32[4,6]{1,0}, s8[0]{0}) custom-call(%p0, %p1), custom_call_target="__cublas$gemm", backend_config='
         '{"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}',
         ["f32[4,8]", "f32[8,6]"], 2 * 4 * 6 * 8),
        ('(f32[3,3,6,4]{3,2,1,0}, u8[0]{0}) custom-call(%p0, %p1), window={size=3x3 pad=1_1x1_1}, '
         'dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convBackwardFilter"',
         ["f32[2,16,16,6]", "f32[2,16,16,4]"], 2 * 2 * INSIDE**2 * 6 * 4),
        ('(f32[2,16,16,6]{3,2,1,0}, u8[0]{0}) custom-call(%p0, %p1), window={size=3x3 pad=1_1x1_1}, '
         'dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convBackwardInput"',
         ["f32[2,16,16,4]", "f32[3,3,6,4]"], 2 * 2 * INSIDE**2 * 6 * 4),
        ('(bf16[2,64,4,32]{3,2,1,0}, u8[0]{0}) custom-call(%p0), custom_call_target="__cudnn$fmhaSoftmaxBackward", '
         'backend_config={"cudnn_fmha_backend_config": {"intermediate_tensor_shape": {"dimensions": '
         '["2", "4", "64", "48"]}}}',
         ["bf16[2,64,4,32]"], 5 * 2 * (2 * 4) * 64 * 48 * 32),
        ('f32[2]{0} custom-call(%p0), custom_call_target="something"', ["f32[2]"], 0),
    ],
)  # fmt: skip
def test_what_compilers_make_of_products_and_convolutions(line, parameters, expected):
    module = entry(line, *parameters)
    computation = module.computations["main"]
    if expected is None:  # each head's product, and nothing between heads
        expected = 2 * 6 * 5 * 7 * 4
    assert flops(module, computation, computation["r"])[0] == expected
