"""The mutants of a module: copies of its source with one small change each.

mutmut has the operators (`mutmut.mutation.mutators`). Its runner is not used: it leaves out functions with a decorator,
default values and constants, and starts from functions that it has replaced by trampolines, whose shapes
`tests/shapes.py` could not check. Mutations that any call notices (`a = None`, an argument that becomes None) are left
out, as are annotations, type aliases, decorators and messages of errors. Two operators are added that numerical code
needs: a slightly smaller number, and another reduction or rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation import mutators


@dataclass(frozen=True)
class Mutant:
    """One change of a module's source: the statement's lines before and after, without indentation."""

    line: int
    before: str
    after: str
    source: str


def _smaller(node: cst.BaseNumber) -> Iterator[cst.BaseNumber]:
    value = node.evaluated_value
    if value:
        yield node.with_changes(value=repr(value - 1 if isinstance(value, int) else 0.9 * value))


# Each also in the other direction.
_PAIRS = (
    ("maximum", "minimum"), ("max", "min"), ("any", "all"), ("sum", "mean"), ("floor", "ceil"), ("std", "var"),
    ("square", "abs"), ("zeros", "ones"), ("zeros_like", "ones_like"),
)  # fmt: skip
_OTHERS = dict(_PAIRS) | {b: a for a, b in _PAIRS}


def _other_function(node: cst.Call) -> Iterator[cst.Call]:
    name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
    if isinstance(name, cst.Name) and name.value in _OTHERS:
        yield node.with_deep_changes(name, value=_OTHERS[name.value])


def _fewer_arguments(node: cst.Call) -> Iterator[cst.Call]:
    """Without an argument that may have a default: one with a keyword, or the last."""
    removals = (call for call in mutators.operator_arg_removal(node) if len(call.args) < len(node.args))
    for argument, call in zip(node.args, removals, strict=False):
        if argument.keyword is not None or argument is node.args[-1]:
            yield call


_OPERATORS = (
    (cst.BaseNumber, mutators.operator_number),
    (cst.BaseNumber, _smaller),
    (cst.BaseString, lambda node: islice(mutators.operator_string(node), 1)),
    (cst.Name, mutators.operator_name),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.Call, _fewer_arguments),
    (cst.Call, _other_function),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, mutators.operator_swap_op),
    (cst.IfExp, mutators.operator_if_exp),
)


def _is_left_out(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Assign):  # a type alias
        name = node.targets[0].target
        return isinstance(name, cst.Name) and name.value[0].isupper() and not name.value.isupper()
    return isinstance(node, (cst.Annotation, cst.Decorator, cst.Raise, cst.ImportFrom))


class _Collector(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider, WhitespaceInclusivePositionProvider)

    def __init__(self) -> None:
        self.found: list[tuple[int, CodeRange, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_left_out(node):
            return False
        for kind, operator in _OPERATORS:
            if isinstance(node, kind):
                line = self.get_metadata(PositionProvider, node).start.line
                place = self.get_metadata(WhitespaceInclusivePositionProvider, node)
                self.found += [(line, place, changed) for changed in operator(node)]
        return True


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in order of its lines; each is there once."""
    module, collector = MetadataWrapper(cst.parse_module(source)), _Collector()
    module.visit(collector)
    lines, found = source.splitlines(keepends=True), {}
    for line, place, changed in collector.found:
        first, last = place.start.line - 1, place.end.line
        head, tail = lines[first][: place.start.column], lines[last - 1][place.end.column :]
        new = head + module.module.code_for_node(changed) + tail
        code = "".join([*lines[:first], new, *lines[last:]])
        before, after = _changed("".join(lines[first:last]), new)
        found.setdefault(code, Mutant(line, before, after, code))
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _changed(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, without indentation, as they were and as they are."""
    sides = [[line.strip() for line in text.splitlines()] for text in (before, after)]
    for end in (0, -1):
        while all(sides) and sides[0][end] == sides[1][end]:
            for side in sides:
                side.pop(end)
    return " ".join(sides[0]), " ".join(sides[1])
