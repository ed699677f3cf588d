"""CUDA graphs of a program compiled for a GPU, and what the host launches besides, from XLA's list of thunks.

The compiler writes the list with `--xla_dump_to`. A thunk is something that the host starts: a kernel, a library call,
a loop, or a CUDA graph (`kCommandBuffer`), whose thunks cost the host nothing more.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_THUNK = re.compile(r"( *)\d+: (k\w+)")
_CONTROL = ("kWhile", "kConditional", "kSequential", "kDynamicSliceFusion")  # start other thunks, which count


@dataclasses.dataclass(frozen=True)
class Launches:
    """What the host starts in one call of a program.

    Attributes:
      graphs: launches of CUDA graphs.
      outside: launches of kernels and library calls outside graphs.
      loops: while loops whose every iteration the host starts.
    """

    graphs: int
    outside: int
    loops: int

    @property
    def total(self) -> int:
        """All launches."""
        return self.graphs + self.outside


def file(folder: Path) -> Path | None:
    """The list of thunks of the largest program that was dumped into a folder; None if none was."""
    for ending in ("after_thunk_passes.txt", ".txt"):  # the first is missing where the passes changed nothing
        if files := sorted(folder.glob(f"*.thunk_sequence*{ending}"), key=lambda path: path.stat().st_size):
            return files[-1]
    return None


def parse(text: str, trips: Sequence[int] = ()) -> Launches:
    """The launches of a list of thunks.

    Args:
      text: of the dumped file.
      trips: how often each loop runs, in the order of the program (`Module.loops`); what is missing counts as 1.
    """
    count = dict(graphs=0, outside=0, loops=0)
    for thunk, times in _outside_graphs(text.splitlines(), iter(trips)):
        if thunk == "kWhile":
            count["loops"] += 1
        elif thunk not in _CONTROL:
            count["graphs" if thunk == "kCommandBuffer" else "outside"] += times
    return Launches(**count)


def _outside_graphs(lines: Sequence[str], trips: Iterator[int]) -> Iterator[tuple[str, int]]:
    """(kind, how often) of each thunk that is in no graph."""
    graph: int | None = None  # indentation of the graph that we are in
    loops: list[tuple[int, int]] = []  # indentation of each loop around us, and its trips
    part = 0  # added to the trips: a condition runs once more than the body
    for line in lines:
        label, indentation = line.strip(), len(line) - len(line.lstrip())
        if label in ("condition:", "body:"):
            graph, part = None, int(label == "condition:")
            continue
        found = _THUNK.match(line)
        if not found or (graph is not None and indentation > graph):
            continue
        graph = None
        while loops and indentation <= loops[-1][0]:
            loops.pop()
            part = 0
        times = 1
        for number, (_, runs) in enumerate(loops):
            times *= runs + (part if number == len(loops) - 1 else 0)
        kind = found[2]
        yield kind, times
        if kind == "kCommandBuffer":
            graph = indentation
        elif kind == "kWhile":
            loops.append((indentation, next(trips, 1)))
