"""Collectives of a compiled program: which, how large, among how many devices, and how many wait for each other."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

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
    """Most collectives of which each needs the result of the one before."""
    walk = _Chains(module)
    walk.through(module.entry, [0] * len(module.computations[module.entry].parameters))
    return walk.longest


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
    if named := re.search(r"replica_groups=mesh\[(.*?)\]\s*\{(.*?)\}", text):  # mesh['a'=4,'b'=8] {'a','b':(2)4}
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", text):
        return pairs[1].count("{")
    return devices


Links = Any  # how many collectives are behind an array; a list of those of a tuple


class _Chains:
    """Follows every array of a program from collective to collective, loops iteration by iteration.

    Attributes:
      longest: chain so far.
    """

    def __init__(self, module: Module):
        self.longest = 0
        self._module = module
        self._talks: dict[str, bool] = {}

    def through(self, name: str, arguments: list[Links]) -> Links:
        """The links of a computation's result, given those of its arguments."""
        computation = self._module.computations[name]
        links: dict[str, Links] = {}
        for instruction in computation.values():
            links[instruction.name] = self._step(instruction, [links[o] for o in instruction.operands], arguments)
        return links[computation.root.name]

    def _step(self, instruction: Instruction, operands: list[Links], arguments: list[Links]) -> Links:
        opcode = instruction.opcode
        if opcode == "parameter":
            return arguments[int(instruction.text)]
        if opcode == "tuple":
            return operands
        if opcode == "get-tuple-element" and isinstance(operands[0], list):
            index = re.search(r"index=(\d+)", instruction.attributes)
            return operands[0][int(index[1])] if index else _most(operands)
        if opcode.removesuffix("-start") in KINDS:
            self.longest = max(self.longest, _most(operands) + 1)
            return _most(operands) + 1
        if opcode == "while" and self._any_collective(instruction.called["body"]):
            for _ in range(self._module.trips(instruction)):
                operands = [self.through(instruction.called["body"], operands)]
            return operands[0]
        if opcode == "conditional" and any(map(self._any_collective, instruction.branches)):
            pairs = zip(instruction.branches, operands[1:], strict=True)
            return _most([self.through(branch, [operand]) for branch, operand in pairs])
        inner = instruction.called.get("calls") or instruction.called.get("to_apply")
        if opcode in ("call", "fusion", "async-start") and inner and self._any_collective(inner):
            return self.through(inner, operands)
        return operands[0] if opcode in ("while", "opt-barrier") else _most(operands)

    def _any_collective(self, name: str) -> bool:
        """Whether a computation does one, itself or in what it calls."""
        if name not in self._talks:
            self._talks[name] = any(
                i.opcode.removesuffix("-start") in KINDS
                or any(map(self._any_collective, (*i.called.values(), *i.branches)))
                for i in self._module.computations[name].values()
            )
        return self._talks[name]


def _most(links: Links) -> int:
    return max(map(_most, links), default=0) if isinstance(links, list) else links
