"""Kernels of a compiled program: what each is, the bytes that it moves, its FLOPs, and its time by the roofline.

The roofline (Williams et al., 2009) of a kernel is the longer of moving its bytes and doing its arithmetic at the
chip's highest rates. A real kernel takes longer; what is far above the roofline on a real chip is worth a look.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator

from relo_jax.profiling.compiled.collectives import base_opcode
from relo_jax.profiling.compiled.flops import flops
from relo_jax.profiling.compiled.hlo import Computation, Instruction, Module
from relo_jax.profiling.compiled.targets import Chip

# No kernel: names, views of other arrays, what only orders others, and the second halves of what runs meanwhile.
_FREE = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id",
    "add-dependency", "opt-barrier", "async-done", "async-update", "copy-done", "slice-done", "send-done", "recv-done",
}  # fmt: skip
_FREE_CALLS = {"AllocateBuffer", "ConcatBitcast", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}
_SLICES = ("slice", "dynamic-slice", "gather")
_VIEWS = ("bitcast", "reshape", "get-tuple-element")
_COPIES = {"copy", "copy-start", "transpose", "slice", "slice-start", "dynamic-slice", "dynamic-update-slice",
           "concatenate", "pad", "broadcast", "iota", "reshape"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel, or what a TPU runs as one operation.

    Attributes:
      name: of the instruction.
      kind: "product", "convolution", "attention", "reduction", "elementwise", "copy" or "other".
      times: how often a call of the program runs it.
      bytes: that it reads and writes in the main memory, each time.
      flops, float32_flops: of products, each time; all, and those of float32 operands.
      op_name: where it comes from.
      result: dtype and sizes of its result, for people.
    """

    name: str
    kind: str
    times: int
    bytes: int
    flops: int
    float32_flops: int
    op_name: str
    result: str

    def seconds(self, chip: Chip) -> tuple[float, float]:
        """Roofline of all its runs: for its bytes, and for its arithmetic."""
        work = self.flops + self.float32_flops * (1 / chip.float32 - 1)
        return self.times * self.bytes / chip.bandwidth, self.times * work / chip.flops


def kernels(module: Module) -> list[Kernel]:
    """Everything that a call of the program runs, without collectives."""
    found = []
    for computation, instruction, times in module.executed():
        free = instruction.opcode in _FREE or instruction.custom_target in _FREE_CALLS
        if free or base_opcode(module, instruction) is not None or not times:
            continue
        result = ", ".join(f"{s.dtype}[{','.join(map(str, s.dims))}]" for s in instruction.shapes[:2])
        found.append(Kernel(
            instruction.name, _kind(module, instruction), times, traffic(module, computation, instruction),
            *flops(module, computation, instruction), instruction.op_name, result,
        ))  # fmt: skip
    return found


def by_kind(found: Iterable[Kernel]) -> dict[str, int]:
    """How many kernels of each kind a call runs."""
    count: collections.Counter[str] = collections.Counter()
    for kernel in found:
        count[kernel.kind] += kernel.times
    return dict(count.most_common())


def traffic(module: Module, computation: Computation, instruction: Instruction) -> int:
    """Bytes that an instruction reads and writes in the main memory.

    Operands count once, results once. Of what is sliced or gathered only the slice counts, and of an array that is
    updated in place only the update.
    """
    names = list(dict.fromkeys(instruction.operands))
    if instruction.opcode == "async-start" and "calls" in instruction.called:
        inner = module.computations[instruction.called["calls"]]
        return traffic(module, inner, inner.root)
    if instruction.opcode in ("copy-start", "slice-start"):  # results: copy, original; or original, slice; a context
        moved = instruction.shapes[0 if instruction.opcode == "copy-start" else len(names)]
        source = computation[names[0]].shapes[0]
        return moved.traffic + (moved.bytes if source.in_memory else 0)
    if instruction.opcode == "fusion":
        inner = module.computations[instruction.called["calls"]]
        read = 0
        for number, name in enumerate(instruction.operands):
            if name not in instruction.operands[:number]:
                whole = sum(shape.traffic for shape in computation[name].shapes)
                read += min(whole, _read(module, inner, inner.parameters[number])) if whole else 0
        return read + min(_written(inner, inner.root), sum(shape.traffic for shape in instruction.shapes))
    read = sum(_read_by(module, computation, computation[name], instruction) for name in names)
    return read + min(_written(computation, instruction), sum(shape.traffic for shape in instruction.shapes))


def _read(module: Module, computation: Computation, array: Instruction) -> int:
    """Bytes of an array of a fused computation that its users read."""
    whole = sum(shape.bytes for shape in array.shapes)
    return min(whole, sum(_read_by(module, computation, array, user) for user in computation.users[array.name]))


def _read_by(module: Module, computation: Computation, array: Instruction, user: Instruction) -> int:
    """Bytes of an array that one of its users reads."""
    result = sum(shape.bytes for shape in user.shapes)
    if user.opcode in _SLICES and user.operands[0] == array.name:
        return result
    if user.opcode == "dynamic-update-slice" and user.operands[0] == array.name:
        return 0
    if user.opcode in _VIEWS:
        return _read(module, computation, user) if not user.is_root else result
    if user.opcode == "fusion":
        inner = module.computations[user.called["calls"]]
        places = [k for k, name in enumerate(user.operands) if name == array.name]
        return sum(_read(module, inner, inner.parameters[k]) for k in places)
    return sum(shape.traffic for shape in array.shapes)


def _written(computation: Computation, result: Instruction) -> int:
    """Bytes that a result needs to be written: of an update in place, the update."""
    if result.opcode == "tuple":
        return sum(_written(computation, computation[name]) for name in result.operands)
    if result.opcode == "bitcast" and result.operands[0] in computation:
        return _written(computation, computation[result.operands[0]])
    if result.opcode == "dynamic-update-slice":
        return sum(shape.bytes for shape in computation[result.operands[1]].shapes)
    return sum(shape.bytes for shape in result.shapes)


def _kind(module: Module, instruction: Instruction) -> str:
    """What a kernel mainly is; see `Kernel`."""
    inside = list(_opened(module, instruction))
    opcodes = {i.opcode for i in inside}
    if instruction.opcode == "custom-call":
        target = instruction.custom_target
        names = {"fmha": "attention", "conv": "convolution", "cublas": "product"}
        return next((kind for part, kind in names.items() if part in target), "other")
    # A TPU's products are convolutions as well.
    if any(i.opcode == "dot" or (i.opcode == "convolution" and "dot_general" in i.op_name) for i in inside):
        return "product"
    if "convolution" in opcodes:
        return "convolution"
    if opcodes & {"reduce", "reduce-window", "sort"}:
        return "reduction"
    return "copy" if opcodes - _FREE <= _COPIES else "elementwise"


def _opened(module: Module, instruction: Instruction) -> Iterator[Instruction]:
    """An instruction, or all that are fused into it."""
    if instruction.opcode in ("fusion", "async-start") and "calls" in instruction.called:
        for inner in module.computations[instruction.called["calls"]].values():
            yield from _opened(module, inner)
    else:
        yield instruction
