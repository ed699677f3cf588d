"""A config from the command line: a file of `configs/`, and `--config.field=value` for single fields."""

import re
import traceback
from collections.abc import Iterable
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from relo_jax.config.fields import base, flatten
from relo_jax.config.renamed import RENAMED, report_new_name
from relo_jax.config.validation import unknown_field
from relo_jax.errors import UserError


def read_config(program: str, config: str | None, fields: Iterable[str] = ()) -> ConfigDict:
    """Reads a config file and replaces fields. Does not validate the result.

    Args:
      program: the command, for messages, such as "relo train".
      config: "FILE" or "FILE:stage"; None if the user gave none.
      fields: the flags `--config.field=value`.

    Raises:
      UserError: names the flag, file or field, and the nearest known field.
    """
    fields = [_current_name(program, argument) for argument in fields]
    if config is None:
        raise UserError(f"{program}: --config is missing; see {program} --help")
    file = Path(config.split(":")[0])
    if not file.is_file():
        raise UserError(f"config file {file} does not exist: the files of configs/ are examples")
    argv = [program, f"--config={config}", *fields]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "config file", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
    except Exception as error:  # from a flag, or from anything that the config file does
        raise UserError(f"{program}: {_reason(error, file)}") from error
    if rest:
        raise UserError(f"{program}: unexpected argument {rest[0]!r}; see {program} --help")
    return values.config


def _current_name(program: str, argument: str) -> str:
    """A flag with the current name of its field. Raises UserError if there is no such field."""
    flag, equals, value = argument.partition("=")
    negated = flag.lstrip("-").startswith("noconfig.")
    name = flag.lstrip("-").removeprefix("no" if negated else "")
    if not argument.startswith("-"):  # the value of the flag before it
        return argument
    if not name.startswith("config."):
        raise UserError(f"{program}: unexpected argument {argument!r}: fields of the config are --config.field=value")
    name = name.removeprefix("config.")
    if name in RENAMED:
        report_new_name(name, f"--config.{name}")
        name = RENAMED[name]
    if name not in flatten(base()):
        raise unknown_field(name)
    return f"--{'no' if negated else ''}config.{name}{equals}{value}"


def _reason(error: Exception, config_file: Path) -> str:
    """An error as one line: "FILE, line N: TYPE: ..." if the config file raised it."""
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
