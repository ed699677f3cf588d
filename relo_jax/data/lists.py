"""Split lists: the official ones, as facts in `data/<name>/`, one name a line, `#` before a comment."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from relo_jax.data.annotations import read_text
from relo_jax.errors import UserError

PACKAGE = "relo_jax_datasets"  # what the folder data/ is called where it is installed


def dataset_folder(name: str) -> Path:
    """`data/<name>` of this installation.

    Raises:
      UserError: it was not installed.
    """
    try:
        folder = Path(str(resources.files(PACKAGE))) / name
    except ModuleNotFoundError:
        folder = Path(__file__).parents[2] / "data" / name
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: install relo_jax again, data/ comes with it")
    return folder


def official(name: str, file: str) -> list[str]:
    """The lines of `data/<name>/<file>` without comments.

    Raises:
      UserError: it is missing.
    """
    return read_list(dataset_folder(name) / file)


def read_list(path: Path) -> list[str]:
    """Names of a list, one a line; what follows `#` is a comment.

    Raises:
      UserError: it cannot be read.
    """
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return [line for line in lines if line]
