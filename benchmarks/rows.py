"""The rows in benchmarks/results/, and Markdown made of them."""

import json
import textwrap
from collections.abc import Iterable

from benchmarks.common import RESULTS


def rows(name: str) -> list[dict]:
    """The rows of a benchmark, oldest first."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def latest(found: Iterable[dict], *keys: str) -> list[dict]:
    """The last row of each device for each combination of the fields `keys`, in the order of first appearance."""
    last = {}
    for row in found:
        last[place(row), *(str(row.get(key)) for key in keys)] = row
    return list(last.values())


def place(row: dict) -> str:
    """The device of a row, in short: `CPU`, `NVIDIA H200`."""
    kind, _, name = _device(row).partition(": ")
    return name if kind in ("gpu", "tpu") else "CPU"


def is_gpu(row: dict) -> bool:
    """Whether a row was measured on a GPU, for which there are aims."""
    return _device(row).startswith("gpu")


def section(title: str, text: str, found: list[dict], heads: list, cells: list[list]) -> str:
    """A section of the document with its text, its table and the origin of its rows; empty if there are no rows."""
    if not found:
        return ""
    return f"\n## {title}\n\n{wrapped(text)}\n\n{table(heads, cells)}\n\n{origin(found)}\n"


def wrapped(text: str) -> str:
    """Paragraphs of text in lines of at most 118 characters."""
    fill = lambda paragraph: textwrap.fill(paragraph, 118, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(map(fill, text.split("\n\n")))


def origin(found: list[dict]) -> str:
    """Command, machine and date of each row, as a list without repetitions."""
    lines = []
    for row in found:
        machine = row["machine"]
        where = f"{machine['cpu']}, {_cores(machine['cores'])}" if isinstance(machine, dict) else machine
        device = "" if place(row) == "CPU" else f", {_device(row)}"
        lines.append(f"- `{row['command']}`, {where}{device}, {row['date'][:10]}")
    return "\n".join(dict.fromkeys(lines))


def _cores(count: int) -> str:
    return f"{count} core{'s' if count > 1 else ''}"


def _device(row: dict) -> str:
    # The first rows described the machine in one string, without a device.
    return row["machine"].get("device", "") if isinstance(row["machine"], dict) else ""


def table(heads: list, cells: list[list]) -> str:
    """Markdown; the first column is aligned left, the others right."""
    lines = [heads, [":--" if k == 0 else "--:" for k in range(len(heads))], *cells]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
