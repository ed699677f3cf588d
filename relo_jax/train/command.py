"""The command line of `relo train`: a config file, a run directory, and single fields of the config."""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from relo_jax import config as config_lib
from relo_jax.errors import UserError

USAGE = """usage: relo train --config FILE[:stage] --workdir DIR [--config.field=value ...]

  --config FILE[:stage]   a file of configs/, with the stage: warmup or rl
  --workdir DIR           run directory; with checkpoints of the same config in it, the run continues
  --config.field=value    replaces one field, e.g. --config.batch_size=16 --config.optimizer.learning_rate=3e-4
"""


def parse(argv):
    """Config and run directory of a command line.

    Args:
      argv: what follows `relo train`.

    Returns:
      ConfigDict, path of the run directory; None when help was asked for.

    Raises:
      UserError: names the flag, file or field, and the nearest known field.
    """
    if any(arg in ("-h", "--help", "-help") for arg in argv):
        return None
    argv = ["relo train", *argv]
    _check_fields(argv)
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "run directory", flag_values=values)
    config_flags.DEFINE_config_file("config", None, "config file", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
    except (flags.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        # ml_collections puts the traceback of a config file into its message; the last line is the error itself.
        line = str(error).strip().splitlines()[-1].removeprefix(f"{UserError.__module__}.UserError: ")
        raise UserError(f"relo train: {line}") from error
    if rest:
        raise UserError(f"relo train: unexpected argument {rest[0]!r}; see relo train --help")
    for name in ("config", "workdir"):
        if getattr(values, name) is None:
            raise UserError(f"relo train: --{name} is missing; see relo train --help")
    return values.config, values.workdir


def _check_fields(argv):
    """Says in one line, before absl does at length, that a field or the config file does not exist."""
    known = config_lib.flatten(config_lib.base())
    for i, arg in enumerate(argv):
        name, equals, value = arg.lstrip("-").partition("=")
        if not arg.startswith("-"):
            continue
        if name == "config":
            path = (value if equals else " ".join(argv[i + 1 : i + 2])).split(":")[0]
            if not Path(path).is_file():
                raise UserError(f"config file {path} does not exist: the files of configs/ are examples")
        field = name.removeprefix("no") if name.startswith("noconfig.") else name
        if field.startswith("config.") and field.removeprefix("config.") not in known:
            raise config_lib.unknown_field(field.removeprefix("config."))
