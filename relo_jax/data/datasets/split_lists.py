"""Official split lists in `data/<name>/`: one name per line, `#` starts a comment.

A line may list several names that end in different numbers: `bear-1..3,7` stands for bear-1, bear-2, bear-3 and bear-7.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from relo_jax.data.datasets.annotations import read_text
from relo_jax.errors import UserError

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
      UserError: the file cannot be read.
    """
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return [name for line in lines if line for name in _expand(line)]


def _expand(line: str) -> list[str]:
    """The names that a line stands for: itself, unless it ends in a range or in several numbers."""
    match = _SEVERAL.fullmatch(line)
    if not match or match[2].isdigit():
        return [line]
    names = []
    for numbers in match[2].split(","):
        first, _, last = numbers.partition("..")
        names += [f"{match[1]}{number}" for number in range(int(first), int(last or first) + 1)]
    return names
