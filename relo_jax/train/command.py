"""The command line of `relo train`: a config file, a run directory, and single fields of the config."""

import re
import traceback
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from relo_jax import config as config_lib
from relo_jax.errors import UserError
from relo_jax.train.distributed import Cluster

USAGE = """usage: relo train --config FILE[:stage] --workdir DIR [--config.field=value ...] [--distributed]

  --config FILE[:stage]   a file of configs/, with the stage: warmup or rl
  --workdir DIR           run directory; with checkpoints of the same config in it, the run continues
  --config.field=value    replaces one field, e.g. --config.batch_size=16 --config.optimizer.learning_rate=3e-4
  --distributed           one run of several processes, each started with this command; a TPU pod, GKE, Slurm and
                          Open MPI say how many and which. Elsewhere, for each process (docs/cluster.md):
      --coordinator=HOST:PORT --num_processes=N --process_id=I    where process 0 listens, and which one this is
"""


def parse(argv):
    """Config, run directory and cluster of a command line.

    Args:
      argv: what follows `relo train`.

    Returns:
      ConfigDict, path of the run directory, Cluster or None for this process alone; None when help was asked for.

    Raises:
      UserError: names the flag, file or field, and the nearest known field.
    """
    if any(arg in ("-h", "--help", "-help") for arg in argv):
        return None
    argv = ["relo train", *argv]
    _check_fields(argv)
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "run directory", flag_values=values)
    flags.DEFINE_bool("distributed", False, "several processes", flag_values=values)
    flags.DEFINE_string("coordinator", None, "address of process 0", flag_values=values)
    flags.DEFINE_integer("num_processes", None, "how many", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("process_id", None, "which one this is", lower_bound=0, flag_values=values)
    config_flags.DEFINE_config_file("config", None, "config file", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
    except Exception as error:  # of a flag, or anything that Python finds wrong with a config file
        raise UserError(f"relo train: {_told(error, _config_file(argv))}") from error
    if rest:
        raise UserError(f"relo train: unexpected argument {rest[0]!r}; see relo train --help")
    for name in ("config", "workdir"):
        if getattr(values, name) is None:
            raise UserError(f"relo train: --{name} is missing; see relo train --help")
    return values.config, values.workdir, _cluster(values)


def _told(error, config_file):
    """An error as one line; "FILE, line N: TYPE: ..." where it came up in the config file."""
    text = str(error).strip()
    # ml_collections puts the traceback of a config file into the message of some errors; the last line is the error.
    quoted = re.findall(r'File "(.+)", line (\d+)', text)
    ours = f"{UserError.__module__}.UserError: "
    if quoted:
        line = text.splitlines()[-1]
    else:
        line = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
        quoted = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError):
            quoted.append((error.filename, error.lineno))
    places = [f"{file}, line {number}: " for file, number in quoted if Path(file).name == config_file.name]
    if isinstance(error, UserError) or line.startswith(ours) or not places:
        return (text.splitlines() or [line])[-1].removeprefix(ours)
    return places[-1] + line


def _config_file(argv):
    """The path after the last --config; no file where there is none."""
    path = Path()
    for i, arg in enumerate(argv):
        name, equals, value = arg.lstrip("-").partition("=")
        if arg.startswith("-") and name == "config":
            path = Path((value if equals else " ".join(argv[i + 1 : i + 2])).split(":")[0])
    return path


def _cluster(values):
    """The Cluster of the flags, None where they ask for none."""
    given = (values.coordinator, values.num_processes, values.process_id)
    if all(value is None for value in given):
        return Cluster() if values.distributed else None
    if None in given:
        raise UserError("relo train: --coordinator, --num_processes and --process_id are given together or not at all")
    if values.process_id >= values.num_processes:
        raise UserError(
            f"relo train: --process_id={values.process_id} is none of 0 to {values.num_processes - 1}, the "
            f"--num_processes={values.num_processes}"
        )
    return Cluster(*given)


def _check_fields(argv):
    """Says in one line, before absl does at length, that a field or the config file does not exist."""
    known = config_lib.flatten(config_lib.base())
    for arg in argv:
        name = arg.lstrip("-").partition("=")[0]
        if not arg.startswith("-"):
            continue
        if name == "config" and not _config_file(argv).is_file():
            raise UserError(f"config file {_config_file(argv)} does not exist: the files of configs/ are examples")
        field = name.removeprefix("no") if name.startswith("noconfig.") else name
        if field.startswith("config.") and field.removeprefix("config.") not in known:
            raise config_lib.unknown_field(field.removeprefix("config."))
