"""The two pages of the website that are made from the code: all commands, and all fields of a training run's config."""

import argparse
import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from relo_jax.commands import main as relo
from relo_jax.config.fields import base, flatten

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "relo_jax" / "config"
TITLES = {  # of the groups of fields
    "": "The run", "mesh": "Devices", "warmup": "The warm-up", "rl": "The RL stage", "optimizer": "The optimiser",
    "tracker": "The tracker", "data": "Clips and their data", "data.procedural": "Procedural sequences",
    "model": "The network",
}  # fmt: skip


def cell(text: str) -> str:
    """A text as a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


# The commands. argparse has no public way to walk through a parser's arguments.


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of `relo NAME`, or of `relo data NAME`."""
    choices = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(choices[0]) if choices else {}


def arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table for each group of a command's arguments."""
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        rows = []
        for action in group._group_actions:
            if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
                continue
            named = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
            names = ", ".join(action.option_strings) or action.metavar or action.dest
            takes = f" {named}" if action.option_strings and action.nargs != 0 else ""
            rows.append((f"`{names}{takes}`", formatter._expand_help(action) if action.help else ""))
        if rows:
            titled = group.title not in ("options", "positional arguments", None)
            yield "\n\n".join(filter(None, [f"*{group.title}*" if titled else "", group.description or ""]))
            yield table(("argument", "meaning"), rows)


def command(name: str, parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """The section of one command, with those of its subcommands."""
    usage = parser.format_usage().removeprefix("usage: ").strip()
    yield f"{'#' * level} `{name}`"
    yield parser.description or ""
    yield f"```\n{usage}\n```"
    yield from arguments(parser)
    yield parser.epilog or ""
    for inner, of in subcommands(parser).items():
        yield from command(f"{name} {inner}", of, level + 1)


def commands_page() -> str:
    """Every command with its arguments, as `relo COMMAND --help` prints them."""
    parts = [
        "# Commands",
        "As `relo COMMAND --help` prints them. A user's mistake is one line on stderr and exit status 1.",
    ]
    for name, parser in subcommands(relo.parser()).items():
        parts += command(f"relo {name}", parser, 2)
    return "\n\n".join(filter(None, parts)) + "\n"


# The fields of a config: their assignments, with the comments above and behind.


def fields(source: str) -> Iterator[tuple[str, str]]:
    """(name, comment) of everything that a Python file assigns to a field or declares as one."""
    comments = {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith("# fmt")
    }
    for node in ast.walk(ast.parse(source)):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(target, ast.Attribute) and not isinstance(node, ast.AnnAssign):
            continue
        if node.value is None:
            node.value = ast.Constant(None)
        above, line = [], node.lineno - 1
        while comments.get(line, ("", False))[1]:
            above.insert(0, comments[line][0])
            line -= 1
        behind = comments.get(node.end_lineno, ("", False))[0]
        comment = " ".join([*above, behind]).strip()
        yield ast.unparse(target), comment
        for inner in ast.walk(node.value):  # config.mesh = ConfigDict({"data": -1})
            if isinstance(inner, ast.Dict):
                yield from ((f"{ast.unparse(target)}.{key.value}", comment) for key in inner.keys)


def rows(file: str, within: str, prefix: str) -> list[tuple[str, str, str]]:
    """The table's rows of the fields that a function or class in a file has, each with a prefix before its name."""
    source, defaults = (CONFIG / file).read_text(), flatten(base())
    (node,) = (n for n in ast.parse(source).body if getattr(n, "name", None) == within)
    found = []
    for name, comment in fields(ast.get_source_segment(source, node)):
        name = prefix + name.removeprefix("config.").removeprefix("data.")
        if name in defaults:
            default = "the variant's" if defaults[name] is None else f"`{defaults[name]!r}`"
            found.append((f"`{name}`", default, comment[:1].upper() + comment[1:]))
    return found


def fields_page() -> str:
    """Every field of a training run's config."""
    training = rows("fields.py", "base", "")
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for row in training:
        group, dot, _ = row[0].strip("`").partition(".")
        groups.setdefault(group if dot else "", []).append(row)
    groups["data"] = rows("fields.py", "_data", "data.") + rows("data_options.py", "ClipOptions", "data.")
    groups["data.procedural"] = rows("data_options.py", "Options", "data.procedural.")
    groups["model"] = rows("model_config.py", "ModelConfig", "model.")
    parts = [
        "# Fields of a config",
        "Every field of a training run, with the default of the paper's B256 warm-up. `--config.FIELD=value` of "
        "`relo train` replaces one; `relo train --config b256:rl --print-config` prints all of a stage. An unknown "
        "field is an error that names the nearest known one. Where the released code differs, the text says so.",
    ]
    for group, found in groups.items():
        parts += [f"## {TITLES.get(group, group)}", table(("field", "default", "meaning"), found)]
    return "\n\n".join(parts) + "\n"
