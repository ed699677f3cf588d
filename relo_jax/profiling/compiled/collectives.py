"""Collectives of a compiled program: which, how large, among how many devices, and how many wait for each other."""

import collections
import dataclasses
import re
from collections.abc import Iterable

from relo_jax.profiling.compiled.hlo import Computation, Instruction, Module

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
SMALL = 8 * 2**10  # bytes; below, a collective takes as long as its latency


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices.

    Attributes:
      kind: one of `KINDS`.
      times: how often a call of the program does it.
      bytes: of the whole arrays on one device: what is reduced, or what is there after gathering.
      devices: that exchange with each other.
      dtype: of the first array.
      op_name: where it comes from.
    """

    kind: str
    times: int
    bytes: int
    devices: int
    dtype: str
    op_name: str

    @property
    def sent(self) -> float:
        """Bytes that a device sends each time, by the ring algorithms (Patarasuk and Yuan, 2009)."""
        if self.kind == "collective-permute":
            return self.bytes
        passes = 2 if self.kind == "all-reduce" else 1
        return passes * self.bytes * (self.devices - 1) / max(self.devices, 1)


def collectives(module: Module, devices: int) -> list[Collective]:
    """The collectives that a call of the program does.

    Args:
      module: of a program.
      devices: of the whole program, for collectives that name no groups.
    """
    found = []
    for computation, instruction, times in module.executed():
        for inside, one in _inside(module, computation, instruction):
            kind = one.opcode.removesuffix("-start")
            shapes = [shape for name in one.operands for shape in inside[name].shapes]
            count = _group(one, devices)
            size = sum(shape.bytes for shape in shapes) * (count if kind == "all-gather" else 1)
            found.append(Collective(kind, times, size, count, shapes[0].dtype if shapes else "", one.op_name))
    return found


def base_opcode(module: Module, instruction: Instruction) -> str | None:
    """The kind of a collective, also of one that runs meanwhile or is fused with others; None for anything else."""
    opcode = instruction.opcode.removesuffix("-start").removesuffix("-done")
    if opcode in KINDS:
        return opcode
    if instruction.opcode in ("async-start", "fusion") and "calls" in instruction.called:
        inner = module.computations[instruction.called["calls"]].values()
        return next((kind for i in inner if (kind := base_opcode(module, i)) is not None), None)
    return None


def longest_chain(module: Module) -> int:
    """Most collectives of which each needs the result of the one before; a loop's count as often as it runs."""
    return _chain(module, module.entry)


def by_kind(found: Iterable[Collective]) -> dict[str, dict[str, int]]:
    """For each kind: how many a call does, how many of those are smaller than `SMALL`, and all their bytes."""
    kinds: dict[str, collections.Counter[str]] = {}
    for one in found:
        count = kinds.setdefault(one.kind, collections.Counter(number=0, small=0, bytes=0))
        count.update(number=one.times, small=one.times * (one.bytes < SMALL), bytes=one.times * one.bytes)
    return {kind: dict(count) for kind, count in kinds.items()}


def _inside(
    module: Module, computation: Computation, instruction: Instruction
) -> Iterable[tuple[Computation, Instruction]]:
    """The collectives that begin with an instruction, each with its computation."""
    if instruction.opcode.removesuffix("-start") in KINDS:
        yield computation, instruction
    elif instruction.opcode in ("async-start", "fusion") and "calls" in instruction.called:
        inner = module.computations[instruction.called["calls"]]
        for one in inner.values():
            yield from _inside(module, inner, one)


def _group(instruction: Instruction, devices: int) -> int:
    """How many devices exchange with each other."""
    text = instruction.attributes
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return listed[1].count(",") + 1
    if counted := re.search(r"replica_groups=\[\d+,(\d+)\]", text):
        return int(counted[1])
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", text):
        return pairs[1].count("{")
    return devices


def _chain(module: Module, name: str) -> int:
    """`longest_chain` of one computation."""
    computation = module.computations[name]
    length: dict[str, int] = {}
    for instruction in computation.values():
        before = max((length.get(operand, 0) for operand in instruction.operands), default=0)
        length[instruction.name] = before + _links(module, instruction)
    return max(length.values(), default=0)


def _links(module: Module, instruction: Instruction) -> int:
    """The longest chain within one instruction."""
    if instruction.opcode.removesuffix("-start") in KINDS:
        return 1
    if instruction.opcode == "while":
        return module.trips(instruction) * _chain(module, instruction.called["body"])
    if instruction.opcode == "conditional":
        return max(_chain(module, branch) for branch in instruction.branches)
    if instruction.opcode in ("call", "fusion", "async-start"):
        return _chain(module, instruction.called.get("calls") or instruction.called["to_apply"])
    return 0
