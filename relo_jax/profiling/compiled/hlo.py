"""Reads the text of an optimised HLO module: computations, their instructions, and how often each runs.

Only what counting needs is parsed: names, types, operands and the text of the attributes.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_BITS = {
    "pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "bf16": 16, "f16": 16, "s32": 32, "u32": 32,
    "f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64, "c128": 128, "f8e4m3fn": 8, "f8e5m2": 8,
}  # fmt: skip
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([^{}]*)\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?\{")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'known_trip_count":\s*\{"n":\s*"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array: its dtype, its sizes, and whether it is in the device's main memory (on TPUs: HBM)."""

    dtype: str
    dims: tuple[int, ...]
    in_memory: bool = True

    @property
    def bytes(self) -> int:
        """Its size, without padding."""
        return math.prod(self.dims) * _BITS.get(self.dtype, 0) // 8

    @property
    def traffic(self) -> int:
        """Bytes that reading or writing it moves from or to the main memory."""
        return self.bytes if self.in_memory else 0


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
      name: without "%".
      shapes: of its result, the arrays of a tuple in order.
      opcode: such as "fusion".
      operands: names of instructions of the same computation.
      attributes: the text behind the operands.
      text: the operands as written, such as the number of a parameter.
      is_root: whether it is the result of its computation.
    """

    name: str
    shapes: tuple[Shape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    text: str = ""
    is_root: bool = False

    @functools.cached_property
    def called(self) -> dict[str, str]:
        """Computations that it names, by attribute."""
        return dict(_CALLED.findall(self.attributes))

    @property
    def branches(self) -> list[str]:
        """Computations of a `conditional`."""
        if listed := _BRANCHES.search(self.attributes):
            return [name.strip().lstrip("%") for name in listed[1].split(",")]
        return [self.called[name] for name in ("true_computation", "false_computation") if name in self.called]

    @property
    def op_name(self) -> str:
        """Where in the Python code it comes from: JAX's name of the operation, or its own."""
        found = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes)
        return found[1] if found else self.name

    @property
    def custom_target(self) -> str:
        """Of a `custom-call`: whose code it runs."""
        found = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return found[1] if found else ""


class Computation(dict[str, Instruction]):
    """The instructions of a computation by name, in the order of the text: operands come before their users."""

    @functools.cached_property
    def root(self) -> Instruction:
        """Its result."""
        return next((i for i in self.values() if i.is_root), next(reversed(self.values())))

    @functools.cached_property
    def parameters(self) -> dict[int, Instruction]:
        """Parameters by number."""
        return {int(i.text): i for i in self.values() if i.opcode == "parameter"}

    @functools.cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """The instructions that have each one as an operand."""
        users: dict[str, list[Instruction]] = {name: [] for name in self}
        for instruction in self.values():
            for operand in dict.fromkeys(instruction.operands):
                users.setdefault(operand, []).append(instruction)
        return users


@dataclasses.dataclass(frozen=True)
class Module:
    """All computations by name, and the name of the one that is the program."""

    computations: dict[str, Computation]
    entry: str

    def executed(self) -> Iterator[tuple[Computation, Instruction, int]]:
        """(computation, instruction, times) of everything that one call of the program runs, fusions unopened.

        A loop's body counts as often as it runs. Of a `conditional`, only the branch with most instructions counts.
        """
        yield from self._executed(self.entry, 1)

    def _executed(self, name: str, times: int) -> Iterator[tuple[Computation, Instruction, int]]:
        computation = self.computations[name]
        for instruction in computation.values():
            if instruction.opcode == "while":
                trips = self.trips(instruction)
                yield from self._executed(instruction.called["body"], times * trips)
                yield from self._executed(instruction.called["condition"], times * (trips + 1))
            elif instruction.opcode == "conditional":
                yield from self._executed(self.longest_branch(instruction), times)
            elif instruction.opcode == "call":
                yield from self._executed(instruction.called["to_apply"], times)
            else:
                yield computation, instruction, times

    def longest_branch(self, conditional: Instruction) -> str:
        """The branch with most instructions."""
        return max(conditional.branches, key=lambda branch: len(self.computations[branch]))

    def loops(self) -> list[int]:
        """How often each loop runs that the program enters, those inside loops included."""
        return [self.trips(i) for c in self._reached(self.entry) for i in c.values() if i.opcode == "while"]

    def trips(self, loop: Instruction) -> int:
        """How often the body of a `while` runs; 1 if that depends on the data.

        Where the compiler does not say it, the condition does: JAX's loops count from 0 up to a constant.
        """
        if known := _TRIPS.search(loop.attributes):
            return int(known[1])
        condition = self.computations[loop.called["condition"]]
        root = condition.root
        if root.opcode == "compare" and "direction=LT" in root.attributes:
            limit = condition[root.operands[-1]]
            if limit.opcode == "constant" and limit.text.isdigit():
                return int(limit.text)
        return 1

    def _reached(self, name: str) -> Iterator[Computation]:
        computation = self.computations[name]
        yield computation
        for instruction in computation.values():
            if instruction.opcode == "while":
                yield from self._reached(instruction.called["body"])
            elif instruction.opcode == "conditional":
                yield from self._reached(self.longest_branch(instruction))
            elif instruction.opcode == "call":
                yield from self._reached(instruction.called["to_apply"])


def parse(text: str) -> Module:
    """The module of a compiled program's `as_text()`."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        if not line.startswith(" "):
            head = None if line.startswith("HloModule") else _COMPUTATION.match(line)
            current = None
            if head:
                current = computations[head[2]] = Computation()
                entry = head[2] if head[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found[2], found[3], bool(found[1]))
            current[instruction.name] = instruction
    return Module(computations, entry)


def shapes(text: str) -> tuple[Shape, ...]:
    """The arrays of a type such as `(f32[2,3]{1,0}, s32[])`; on TPUs `S(1)` and higher are not the main memory."""
    found = []
    for dtype, dims, layout in _SHAPE.findall(text):
        if dtype in _BITS:
            space = re.search(r"S\((\d+)\)", layout)
            sizes = tuple(int(size) for size in dims.split(",") if size)
            found.append(Shape(dtype, sizes, in_memory=space is None or space[1] == "0"))
    return tuple(found)


def _instruction(name: str, rest: str, is_root: bool) -> Instruction:
    """From `TYPE opcode(OPERANDS), ATTRIBUTES`."""
    end = _closing(rest, 0) + 1 if rest.startswith("(") else _space(rest)
    opening = rest.index("(", end)
    closing = _closing(rest, opening)
    inside = rest[opening + 1 : closing]
    opcode = rest[end:opening].strip()
    operands = () if opcode == "constant" else tuple(re.findall(r"%([\w.\-]+)", inside))
    return Instruction(name, shapes(rest[:end]), opcode, operands, rest[closing + 1 :], inside, is_root)


def _space(text: str) -> int:
    """The first space outside braces: a TPU's layouts contain none, but comments of tuples do."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == " " and depth == 0:
            return index
    return len(text)


def _closing(text: str, opening: int) -> int:
    """The parenthesis that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return index
    return len(text) - 1
