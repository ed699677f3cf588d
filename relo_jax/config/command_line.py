"""A config from the command line: a name or a file, and `--config.field=value` for single fields."""

import ast
import json
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from relo_jax.config.evaluation import evaluation_from_dict
from relo_jax.config.fields import base, flatten
from relo_jax.config.named import find_config
from relo_jax.config.renamed import RENAMED, report_new_name
from relo_jax.config.validation import from_dict, unknown_field
from relo_jax.errors import UserError
from relo_jax.files import refuse_pipe

_LOADED_AS = "config_config"  # by ml_collections: the name of a config file's module
_KINDS = {int: "an integer", float: "a number", bool: "true or false", tuple: "values with commas between them"}


def read_config(
    program: str, config: str | None, fields: Iterable[str] = (), default: ConfigDict | None = None
) -> ConfigDict:
    """Reads a config and replaces fields. Does not validate the result.

    Args:
      program: the command, for messages, such as "relo train".
      config: "NAME:stage" such as "b256:rl", "FILE.py:stage" or a saved "config.json"; None if the user gave none.
      fields: the flags `--config.field=value`.
      default: the config if the user gave none; the file must have the same fields. None: `base()`, and a file must be
        given.

    Raises:
      UserError: names the flag, file or field, and the nearest known field.
    """
    known = base() if default is None else default
    fields = [_current_name(program, argument, known) for argument in fields]
    if config is None and default is None:
        raise UserError(f"{program}: --config is missing; see {program} --help")
    made = known if config is None else open_config(program, config)
    if ("eval" in made) != ("eval" in known):
        stages = ":eval, or the config.json beside results" if "eval" in known else ":warmup or :rl"
        raise UserError(f"{program}: {config} is of stage {made.get('stage')!r}: give NAME{stages}")
    argv = [program, *fields]
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", made, flag_values=values, sys_argv=argv)
    return _parsed(program, values, argv, Path(config or program))


def is_flag(argument: str) -> bool:
    """Whether an argument is a flag. Others are values of the flag before them; a negative number is a value."""
    return argument.startswith("-") and not re.match(r"-\.?\d", argument)


def given_fields(program: str, fields: Iterable[str], known: ConfigDict) -> set[str]:
    """The names of the fields that flags `--config.field=value` set. Raises UserError for one that `known` lacks."""
    current = [_current_name(program, argument, known) for argument in fields if is_flag(argument)]
    return {flag.partition("=")[0].partition("config.")[2] for flag in current}


def open_config(program: str, config: str) -> ConfigDict:
    """The config that a file makes or has; see `read_config`.

    Raises:
      UserError: no such name or file; a file that is broken.
    """
    file, stage = find_config(config)
    if file.suffix == ".json":
        if stage:
            raise UserError(f"{program}: --config {config}: a config.json has its stage already: leave {stage} out")
        return _of_json(file)
    sys.modules.pop(_LOADED_AS, None)  # or the file would have the names of the one that was read before
    argv = [program, f"--config={file}{stage}"]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "config file", flag_values=values, sys_argv=argv)
    config = _parsed(program, values, argv, file)
    if not isinstance(config, ConfigDict):
        raise UserError(f"{program}: get_config of {file} returns a {type(config).__name__}, expected a ConfigDict")
    return config


def _of_json(file: Path) -> ConfigDict:
    """The config that a command saved. Raises UserError."""
    refuse_pipe(file)
    try:
        saved = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as a config: {error}") from None
    if not isinstance(saved, dict):
        raise UserError(f"{file} is not a config: expected the config.json that relo train or relo eval wrote")
    return (evaluation_from_dict if "eval" in saved else from_dict)(saved, file)


def _parsed(program: str, values: flags.FlagValues, argv: list[str], file: Path) -> ConfigDict:
    """The config after the flags of `argv`. Raises UserError."""
    try:
        rest = values(argv)[1:]
    except flags.IllegalFlagValueError as error:
        raise UserError(f"{program}: {_of_another_type(str(error), values) or _reason(error, file)}") from error
    except Exception as error:  # from a flag, or from anything that the config file does
        raise UserError(f"{program}: {_reason(error, file)}") from error
    if rest:
        raise UserError(f"{program}: unexpected argument {rest[0]!r}; see {program} --help")
    return values.config


def _of_another_type(message: str, values: flags.FlagValues) -> str | None:
    """What a field expects, from absl's message `flag --config.seed=None: invalid literal ...`; None for others."""
    found = re.match(r"flag --(config\.\S+?)=(.*?): ", message)
    default = flatten(values["config"].value).get(found[1].removeprefix("config.")) if found else None
    kind = _KINDS.get(type(default))
    return None if kind is None or found is None else f"{found[1]} is {found[2][:60]!r}, expected {kind}"


def _current_name(program: str, argument: str, known: ConfigDict) -> str:
    """A flag with the current name of its field. Raises UserError if there is no such field."""
    flag, equals, value = argument.partition("=")
    negated = flag.lstrip("-").startswith("noconfig.")
    name = flag.lstrip("-").removeprefix("no" if negated else "")
    if not is_flag(argument):
        return argument
    if not name.startswith("config."):
        raise UserError(f"{program}: unexpected argument {argument!r}: fields of the config are --config.field=value")
    name = name.removeprefix("config.")
    if name in RENAMED:
        report_new_name(name, f"--config.{name}")
        name = RENAMED[name]
    if name not in flatten(known):
        raise unknown_field(name, known=known)
    return f"--{'no' if negated else ''}config.{name}{equals}{_as_tuple(flatten(known)[name], value)}"


def _as_tuple(default: object, value: str) -> str:
    """`a.*,b.*` -> `('a.*', 'b.*')` for a field that holds several values, which ml_collections asks to be quoted."""
    if not isinstance(default, tuple) or "," not in value:
        return value
    try:
        ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return repr(tuple(part.strip() for part in value.split(",") if part.strip()))
    return value


def _reason(error: Exception, config_file: Path) -> str:
    """An error as one line: "FILE, line N: TYPE: ..." if the config file raised it."""
    text = str(error).strip()
    if isinstance(error, AttributeError) and f"module '{_LOADED_AS}'" in text:
        return f"{config_file} has no function get_config(stage)"
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
