"""File names of frames, stored compactly: LaSOT has 3.5 million, nearly all of the form 00000001.jpg."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)")


class FrameNames:
    """File names of a sequence's frames: a pattern if they are numbered without gaps, otherwise a list.

    Args:
      text: the names as `compress` stores them.
      count: number of frames.
    """

    def __init__(self, text: str, count: int):
        self._count = count
        self._names = text.split("\n") if "\n" in text or count < 2 else None
        if self._names is None:
            self._prefix, digits, first, self._suffix = text.split("/")
            self._digits, self._first = int(digits), int(first)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (self[k] for k in range(self._count))

    def __getitem__(self, index: int) -> str:
        index = range(self._count)[index]
        if self._names is not None:
            return self._names[index]
        return f"{self._prefix}{self._first + index:0{self._digits}d}{self._suffix}"

    @staticmethod
    def compress(names: list[str]) -> str:
        """The names as one text, from which `FrameNames` restores them."""
        match = _NUMBERED.fullmatch(names[0]) if len(names) > 1 else None
        if match:
            prefix, digits, suffix = match.groups()
            text = f"{prefix}/{len(digits)}/{int(digits)}/{suffix}"
            if names == list(map(FrameNames(text, len(names)).__getitem__, range(len(names)))):
                return text
        return "\n".join(names)
