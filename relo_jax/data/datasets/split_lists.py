"""Official split lists in `data/<name>/`: one name per line, `#` starts a comment.

A line may list several names that end in different numbers: `bear-1..3,7` stands for bear-1, bear-2, bear-3 and bear-7.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from relo_jax.data.datasets.annotations import read_text
from relo_jax.errors import UserError

MOST_NAMES = 1_000_000
PACKAGE = "relo_jax_datasets"  # the installed name of the folder data/
_NUMBERS = r"\d+(?:\.\.\d+)?"
_SEVERAL = re.compile(rf"(.*?)({_NUMBERS}(?:,{_NUMBERS})*)")


def dataset_folder(name: str) -> Path:
    """`data/<name>` of this installation.

    Raises:
      UserError: the folder is not installed.
    """
    try:
        folder = Path(str(resources.files(PACKAGE))) / name
    except ModuleNotFoundError:
        folder = Path(__file__).parents[3] / "data" / name
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: install relo_jax again, data/ comes with it")
    return folder


def official(name: str, file: str) -> list[str]:
    """The names in `data/<name>/<file>`.

    Raises:
      UserError: the file is missing.
    """
    path = dataset_folder(name) / file
    if not path.is_file():
        raise UserError(f"{path}: this official list is missing: install relo_jax again, data/ comes with it")
    return read_list(path)


def read_list(path: Path) -> list[str]:
    """The names in a list file, with ranges expanded and comments removed.

    Raises:
      UserError: the file cannot be read; a name leads out of the dataset's folder; there are more than a million.
    """
    names: list[str] = []
    for index, line in enumerate(read_text(path).splitlines()):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        where = f"{path}, line {index + 1}: {line[:60]!r}"
        if line.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", line) or re.match("[A-Za-z]:", line):
            raise UserError(f"{where} leads out of the folder of the list: name sequences in it")
        if not line.isprintable():
            raise UserError(f"{where} is not the name of a sequence")
        expanded = _expand(line, MOST_NAMES - len(names))
        if expanded is None:
            raise UserError(f"{where}: the list has more than {MOST_NAMES:,} names")
        names += expanded
    return names


def _expand(line: str, most: int) -> list[str] | None:
    """The names that a line stands for: itself, unless it ends in a range or in several numbers; None if too many."""
    match = _SEVERAL.fullmatch(line)
    if not match or match[2].isdigit():
        return [line] if most > 0 else None
    names: list[str] = []
    for numbers in match[2].split(","):
        first, _, last = numbers.partition("..")
        if max(len(first), len(last)) > 12 or int(last or first) - int(first) >= most - len(names):
            return None
        names += [f"{match[1]}{number}" for number in range(int(first), int(last or first) + 1)]
    return names
