"""A griffe extension: arguments that a docstring describes together get an entry each in the API reference.

Args:                                       Args:
  reward, value: of each frame.      ->       reward: of each frame.
  key: of the samples; step: done.            value: of each frame.
                                              key: of the samples.
                                              step: done.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

_NAMES = r"\*{0,2}\w+(?:, \*{0,2}\w+)*"


def entries(item: str, known: set[str]) -> Iterator[tuple[str, str]]:
    """(name, description) of each argument that one item of "Args:" describes; names that are not known stay as text.

    Args:
      item: in one line.
      known: names of the function's arguments.
    """
    described: list[tuple[str, str]] = []
    for part in re.split(rf"; (?={_NAMES}: )", item):
        names, colon, text = part.partition(": ")
        if described and not {name.lstrip("*") for name in names.split(", ")} <= known:
            described[-1] = (described[-1][0], f"{described[-1][1]}; {part}")
        else:
            described.append((names, text if colon else ""))
    for names, text in described:
        ended = text if text.endswith((".", "!", "?", ":")) else f"{text}."
        yield from ((name, ended) for name in names.split(", "))


def separated(docstring: str, known: set[str]) -> str:
    """A docstring with an entry for each argument; see the module's docstring."""
    lines, out, items = docstring.splitlines(), [], None
    for line in [*lines, ""]:
        indent = len(line) - len(line.lstrip())
        if items is not None and (not line.strip() or indent == 0):
            described = [entry for item in items for entry in entries(item, known)]
            out += [f"  {name}: {text}" for name, text in described if " " not in name]
            # "the others: see Tracker" names no argument.
            out += [f"\n{name[0].upper()}{name[1:]}: {text}" for name, text in described if " " in name]
            items = None
        if items is None:
            out.append(line)
            items = [] if line == "Args:" else None
        elif indent == 2:
            items.append(line.strip())
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(out[:-1])


class Arguments(griffe.Extension):
    """Changes the docstrings of a package's functions and classes before they are rendered."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Goes through everything that the package defines."""
        self._change(pkg)

    def _change(self, within: griffe.Module | griffe.Class) -> None:
        for member in within.members.values():
            if member.is_alias:
                continue
            if member.docstring and (member.is_function or member.is_class):
                known = {parameter.name.lstrip("*") for parameter in member.parameters}
                member.docstring.value = separated(member.docstring.value, known)
            if member.is_module or member.is_class:
                self._change(member)
