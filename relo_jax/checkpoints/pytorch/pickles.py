"""Interprets the pickles of `torch.save`. Nothing in a file is called, imported or given attributes.

A pickle is a program for a stack machine, and Python's own machine calls whatever the program names and sets whatever
attributes it likes, also on objects that were checked before. The machine here knows plain data and the few names that
make a tensor. Every other class, function and call becomes an `Inert` with its name. State for an object (the opcode
BUILD) is dropped.

A pickle can also be a bomb: a few bytes that ask for gigabytes of memory or hours of work. What it may ask for is
bounded: its length, its operations, and what may be a key.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from relo_jax.errors import UserError

# A checkpoint with its optimiser state has some 100,000 operations in a few megabytes.
MAX_BYTES = 32 << 20
MAX_OPERATIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class Inert:
    """Stands for a class, a function or an object that is not needed."""

    module: str
    name: str


# What a name makes when it is called, such as {("torch", "Size"): tuple}; `persistent` makes an external object.
Calls = dict[tuple[str, str], Callable[..., Any]]
Persistent = Callable[[Any], Any]

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_SCALARS = (str, bytes, int, float, bool, type(None), Inert)


class _Bounded:
    """A file of which at most `MAX_BYTES` are read."""

    def __init__(self, file: IO[bytes]):
        self.file, self.left = file, MAX_BYTES

    def _count(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise UserError(f"its description of the tensors is longer than {MAX_BYTES >> 20} MiB")
        return data

    def read(self, size: int) -> bytes:
        return self._count(self.file.read(min(size, self.left + 1)))

    def readline(self) -> bytes:
        return self._count(self.file.readline(self.left + 1))


def load(file: IO[bytes], calls: Calls, persistent: Persistent | None = None) -> Any:
    """The object that the next pickle in a file describes. The file is left behind it.

    Raises:
      UserError: the pickle is too long, or it has a key that is no key.
      ValueError, IndexError, KeyError, TypeError: it is damaged.
    """
    machine = _Machine(calls, persistent)
    for number, (opcode, argument, _) in enumerate(_operations(file)):
        if number >= MAX_OPERATIONS:
            raise UserError(f"its description of the tensors has more than {MAX_OPERATIONS:,} operations")
        machine.step(opcode.name, argument)
    return machine.pop()


def _operations(file: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    return pickletools.genops(_Bounded(file))  # type: ignore[arg-type]  # it needs read and readline alone


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, calls: Calls, persistent: Persistent | None):
        self.calls, self.persistent = calls, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark in place of a value")
        return value

    def pop_to_mark(self) -> list[Any]:
        """The values above the last mark, which goes too."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def step(self, name: str, argument: Any) -> None:
        """Executes one operation."""
        push = self.stack.append
        if name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _EMPTY:
            push(_EMPTY[name]())
        elif name in _TUPLES:
            push(tuple([self.pop() for _ in range(_TUPLES[name])][::-1]))
        elif name == "MARK":
            push(_MARK)
        elif operation := getattr(self, f"_{name.lower()}", None):  # the methods below
            operation()
        elif name in ("GLOBAL", "INST"):
            if name == "INST":
                self.pop_to_mark()
            push(Inert(*argument.split(" ", 1)))
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            push(self.memo[argument])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "PERSID":
            push(self._external(argument))
        elif name not in ("PROTO", "FRAME", "STOP"):
            # What is left are constants: numbers, texts and bytes.
            if argument is None or name.startswith("EXT"):
                raise ValueError(f"the operation {name}")
            push(argument)

    def _memoize(self):
        self.memo[len(self.memo)] = self.stack[-1]

    def _dup(self):
        self.stack.append(self.stack[-1])

    def _pop(self):
        self.stack.pop()

    def _pop_mark(self):
        self.pop_to_mark()

    def _tuple(self):
        self.stack.append(tuple(self.pop_to_mark()))

    def _list(self):
        self.stack.append(self.pop_to_mark())

    def _dict(self):
        items = self.pop_to_mark()
        self.stack.append({})
        self._set(items)

    def _append(self):
        self._extend([self.pop()])

    def _appends(self):
        self._extend(self.pop_to_mark())

    def _extend(self, values):
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        elif not isinstance(self.stack[-1], Inert):
            raise TypeError("values for an object that is no list")

    def _setitem(self):
        value = self.pop()
        self._set([self.pop(), value])

    def _setitems(self):
        self._set(self.pop_to_mark())

    def _set(self, items):
        """Sets keys and values, which alternate, in the dict on top of the stack."""
        if isinstance(self.stack[-1], Inert):
            return
        if not isinstance(self.stack[-1], dict):
            raise TypeError("items for an object that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # The hash of nested tuples can take for ever.
            flat = key if isinstance(key, tuple) else (key,)
            if not all(isinstance(part, _SCALARS) for part in flat):
                raise UserError(f"a {type(key).__name__} is the key of a dict")
            self.stack[-1][key] = value

    def _empty_set(self):
        self.stack.append(Inert("builtins", "set"))

    def _additems(self):
        self.pop_to_mark()

    def _frozenset(self):
        self.pop_to_mark()
        self.stack.append(Inert("builtins", "frozenset"))

    def _stack_global(self):
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name that is no text")
        self.stack.append(Inert(module, name))

    def _reduce(self):
        arguments, function = self.pop(), self.pop()
        self.stack.append(self._called(function, arguments))

    def _obj(self):
        self.stack.append(self._called(self.pop_to_mark()[0], None))

    def _newobj(self):
        self._reduce()

    def _newobj_ex(self):
        self.pop()
        self._reduce()

    def _called(self, function, arguments):
        if not isinstance(function, Inert):
            raise TypeError(f"a call of a {type(function).__name__}")
        call = self.calls.get((function.module, function.name))
        return function if call is None else call(*(arguments or ()))

    def _build(self):
        self.pop()

    def _binpersid(self):
        self.stack.append(self._external(self.pop()))

    def _external(self, reference):
        if self.persistent is None:
            raise ValueError("a reference outside the pickle")
        return self.persistent(reference)
