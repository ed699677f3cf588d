"""The config files of the package, by name: `b256` is `configs/relo_b256.py`, wherever relo_jax is installed."""

from importlib import resources
from pathlib import Path

from relo_jax.errors import UserError, did_you_mean

PACKAGE = "relo_jax_configs"  # the installed name of the folder configs/
_PREFIX = "relo_"
_SUFFIXES = (".py", ".json")


def config_names() -> list[str]:
    """The names that `--config` takes: those of the variants, and `ablations`, the arms of the studies."""
    names = (file.stem.removeprefix(_PREFIX) for file in _folder().glob("*.py"))
    return sorted(name for name in names if not name.startswith("_"))


def config_file(name: str) -> Path:
    """The file of a config's name, such as "b256"; in a checkout that of `configs/`.

    Raises:
      UserError: there is none; names the nearest, or all.
    """
    names = config_names()
    short = name.removeprefix(_PREFIX)
    if short not in names:
        raise UserError(f"no config is called {name!r}{did_you_mean(short, names)}")
    files = (_folder() / f"{prefix}{short}.py" for prefix in (_PREFIX, ""))
    return next(file for file in files if file.is_file())


def find_config(config: str) -> tuple[Path, str]:
    """What `--config` names: the file, and the rest after it (":rl", or "" for the file's default stage).

    Args:
      config: "NAME", "FILE.py" or a saved "config.json"; the first two also with ":stage".

    Raises:
      UserError: no such file, or no such name.
    """
    if Path(config).suffix == ".json":
        path, stage = Path(config), ""
    else:
        name, colon, stage = config.partition(":")
        path, stage = Path(name), colon + stage
    if path.is_file():
        return path, stage
    if path.suffix not in _SUFFIXES and len(path.parts) < 2:
        return config_file(str(path) if path.parts else ""), stage
    short, names = path.stem.removeprefix(_PREFIX), config_names()
    hint = f"--config {short}{stage} is the package's own" if short in names else f"by name: {', '.join(names)}"
    raise UserError(f"config file {path} does not exist ({hint})")


def _folder() -> Path:
    """`configs/` beside these sources in a checkout, or as it is installed. Raises UserError."""
    beside = Path(__file__).parents[2] / "configs"
    if (beside / f"{_PREFIX}b256.py").is_file():
        return beside
    try:
        folder = Path(str(resources.files(PACKAGE)))
    except ModuleNotFoundError:
        folder = beside
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: install relo_jax again, configs/ comes with it")
    return folder
