"""Floating-point operations of a compiled program's instructions: products, convolutions and flash attention.

A multiplication counts as two, as in `profiling/flops.py`. Element-wise arithmetic does not count: it is hidden behind
the memory traffic.
"""

import json
import math
import re

from relo_jax.profiling.compiled.hlo import Computation, Instruction, Module, Shape

_WINDOW = re.compile(r"window=\{([^}]*)\}")
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_GROUPS = re.compile(r"(?:feature|batch)_group_count=(\d+)")


def flops(module: Module, computation: Computation, instruction: Instruction) -> tuple[int, int]:
    """FLOPs of one instruction and what is fused into it: all, and those of float32 operands."""
    if instruction.opcode in ("fusion", "async-start") and "calls" in instruction.called:
        inner = module.computations[instruction.called["calls"]]
        found = [flops(module, inner, i) for i in inner.values()]
        return sum(f[0] for f in found), sum(f[1] for f in found)
    count = _of(computation, instruction)
    operand = computation.get(instruction.operands[0]) if instruction.operands else None
    wide = operand is not None and operand.shapes[:1] and operand.shapes[0].dtype in ("f32", "f64")
    return count, count if wide else 0


def _of(computation: Computation, instruction: Instruction) -> int:
    """FLOPs of one instruction by itself."""
    opcode, target = instruction.opcode, instruction.custom_target
    if opcode not in ("dot", "convolution", "custom-call"):
        return 0
    operands = [computation[name].shapes[0] for name in instruction.operands if computation[name].shapes]
    if opcode == "dot":
        found = _CONTRACTED.search(instruction.attributes)
        contracted = [int(number) for number in found[1].split(",") if number] if found else []
        return _product(instruction, operands[0], contracted)
    if target.startswith(("__cublas$", "__cudnn$fmha")):
        config = _backend_config(instruction)
        return _cublas(instruction, operands, config) if "cublas" in target else _attention(target, operands, config)
    if opcode == "convolution":
        return _convolution(instruction, operands[0], operands[1], instruction.shapes[0])
    if target.startswith("__cudnn$conv"):
        # The labels are those of the forward convolution: image, kernel -> output.
        first, second, result = operands[0], operands[1], instruction.shapes[0]
        if target == "__cudnn$convBackwardInput":
            return _convolution(instruction, result, second, first)
        if target == "__cudnn$convBackwardFilter":
            return _convolution(instruction, first, result, second)
        return _convolution(instruction, first, second, result)
    return 0


def _product(instruction: Instruction, left: Shape, contracted: list[int]) -> int:
    return 2 * math.prod(instruction.shapes[0].dims) * math.prod(left.dims[k] for k in contracted)


def _cublas(instruction: Instruction, operands: list[Shape], config: dict) -> int:
    gemm = config.get("gemm_backend_config", {})
    contracted = gemm.get("dot_dimension_numbers", {}).get("lhs_contracting_dimensions", [])
    return _product(instruction, operands[0], [int(k) for k in contracted])


def _attention(target: str, operands: list[Shape], config: dict) -> int:
    """cuDNN's fused attention: two products of B x h x Q x K x d forward, five backward."""
    logits = config.get("cudnn_fmha_backend_config", {}).get("intermediate_tensor_shape", {}).get("dimensions", ["0"])
    products = 5 if "Backward" in target else 2
    return products * 2 * math.prod(int(size) for size in logits) * operands[0].dims[-1]


def _convolution(instruction: Instruction, image: Shape, kernel: Shape, output: Shape) -> int:
    """Multiplications of pixels that exist, without those of the padding and of the zeros of a dilation.

    On TPUs matrix products are convolutions too, with batch axes as windows that dilation keeps apart.
    """
    labels = _LABELS.search(instruction.attributes)
    if labels is None:
        return 0
    image_labels, kernel_labels, output_labels = labels.groups()
    window = _WINDOW.search(instruction.attributes)
    fields = dict(field.split("=") for field in window[1].split()) if window else {}
    total = 1
    spatial = [label for label in kernel_labels if label.isdigit()]
    for position, label in enumerate(spatial):
        size = kernel.dims[kernel_labels.index(label)]
        of = lambda name, default, k=position: fields[name].split("x")[k] if name in fields else default
        low, high = (int(pad) for pad in of("pad", "0_0").split("_"))
        total *= _pairs(
            image.dims[image_labels.index(label)], size, output.dims[output_labels.index(label)],
            int(of("stride", 1)), low, int(of("lhs_dilate", 1)), int(of("rhs_dilate", 1)),
        )  # fmt: skip
    groups = _GROUPS.search(instruction.attributes)
    batch, features = (output.dims[output_labels.index(label)] for label in "bf")
    inputs = kernel.dims[kernel_labels.index("i")]
    if groups and "batch_group_count" in groups[0]:
        return 2 * total * image.dims[image_labels.index("b")] * features * inputs // int(groups[1])
    return 2 * total * batch * features * inputs


def _pairs(length: int, size: int, outputs: int, stride: int, low: int, dilate: int, kernel_dilate: int) -> int:
    """Along one axis: pairs of an output and a kernel element whose pixel exists."""
    pairs, last = 0, (length - 1) * dilate
    for k in range(size):
        offset = k * kernel_dilate - low
        if dilate == 1:  # outputs with 0 <= output * stride + offset <= last
            first = max(0, -(offset // stride))
            pairs += max(0, min(outputs - 1, (last - offset) // stride) - first + 1)
        else:
            positions = range(offset, offset + outputs * stride, stride)
            pairs += sum(0 <= position <= last and position % dilate == 0 for position in positions)
    return pairs


def _backend_config(instruction: Instruction) -> dict:
    """The JSON behind `backend_config=`."""
    _, found, text = instruction.attributes.partition("backend_config=")
    if not found:
        return {}
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except ValueError:  # some compilers write a quoted string
        return {}
