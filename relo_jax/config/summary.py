"""A config for notebooks: made by name, changed field by field, and printed as a short table.

config = relo_jax.get_config("tiny:rl", total_steps=200, **{"optimizer.learning_rate": 1e-4})
"""

import functools
import html
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from relo_jax import tables
from relo_jax.config.command_line import open_config
from relo_jax.config.evaluation import evaluation
from relo_jax.config.fields import base, flatten
from relo_jax.config.recipes import paper
from relo_jax.config.validation import STAGES, replace_fields
from relo_jax.errors import UserError

# Always in the table; other fields are if they differ from the default.
_OF_TRAINING = ("stage", "model.variant", "init_from", "data.name", "batch_size", "total_steps", "eval_every",
                "optimizer.learning_rate")  # fmt: skip
_OF_STAGE = {"warmup": ("warmup.search_frames",), "rl": ("rl.clip_length", "rl.estimator")}
_OF_EVALUATION = ("eval.checkpoint", "eval.datasets", "eval.batch", "data.root")


class Config(ConfigDict):
    """A ConfigDict that prints as a table: the main fields, and those that differ from the default.

    `to_yaml()` and `to_dict()` have all fields. The columns are the value, that of the config file where it was
    changed since, and the default of the stage (the paper's).
    """

    _name = "config"
    _of_file: Mapping[str, Any] = {}

    @classmethod
    def of_file(cls, config: ConfigDict, name: str) -> "Config":
        """A config as its file made it; the table tells later changes from it."""
        made = cls(config)
        # As fields of the object: an assignment would make them fields of the config.
        object.__setattr__(made, "_name", name)
        object.__setattr__(made, "_of_file", flatten(config))
        return made

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(state)
        for name in ("_name", "_of_file"):
            object.__setattr__(self, name, state.get(name, getattr(Config, name)))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The table: name of the field, value, value in the file if it was changed since, default if it differs."""
        values, default = flatten(self), _default(self)
        changed = [name for name in values if self._of_file and values[name] != self._of_file.get(name)]
        stage = values.get("stage")
        hidden = tuple(f"{other}." for other in STAGES if other != stage)
        differ = [name for name in values if values[name] != default.get(name) and not name.startswith(hidden)]
        main = _OF_EVALUATION if "eval" in self else (*_OF_TRAINING, *_OF_STAGE.get(str(stage), ()))
        others = sorted({*differ, *changed}, key=lambda name: ("." in name, name))
        names = [name for name in dict.fromkeys((*main, *others)) if name in values]
        rows = []
        for name in names:
            in_file = _text(self._of_file[name]) if name in changed else ""
            other = _text(default.get(name)) if values[name] != default.get(name) else ""
            rows.append((name, _text(values[name]), in_file, other))
        return rows

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and rows; without the column of the file if nothing was changed."""
        heads, rows = (self._name, "value", "in the file", "default"), self.rows()
        columns = (0, 1, 2, 3) if any(row[2] for row in rows) else (0, 1, 3)
        return tuple(heads[k] for k in columns), [tuple(row[k] for k in columns) for row in rows]

    def __str__(self) -> str:
        if "stage" not in self:  # a section
            return super().__str__()
        heads, rows = self._table()
        return tables.terminal([heads, *rows], "l" * len(heads))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        if "stage" not in self:
            return f"<pre>{html.escape(super().__str__())}</pre>"
        heads, rows = self._table()
        cell = '<{0} style="text-align: left">{1}</{0}>'
        lines = ["".join(cell.format("th", html.escape(head)) for head in heads)]
        lines += ["".join(cell.format("td", html.escape(text)) for text in row) for row in rows]
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def get_config(name: str, **fields: Any) -> Config:
    """A config by name, with fields replaced; it goes wherever a config does, such as `train_and_evaluate`.

    Args:
      name: "tiny:rl", "b256:warmup", "b256:eval": a config of the package and a stage; also a file of your own
        ("mine.py:rl") or the `config.json` of a run.
      fields: `total_steps=200`; those of a section as `optimizer={"learning_rate": 1e-4}` or
        `**{"optimizer.learning_rate": 1e-4}`.

    Raises:
      UserError: an unknown config, stage or field (names the nearest), or a value of another type or out of range.
    """
    config = Config.of_file(open_config("get_config", name), name)
    nested: dict[str, Any] = {}
    for field, value in flatten(fields).items():
        if value is None:
            raise UserError(f"get_config: {field} is None: leave it out, and it stays as {name} has it")
        *sections, last = field.split(".")
        functools.reduce(lambda section, key: section.setdefault(key, {}), sections, nested)[last] = value
    replace_fields(config, nested, "config")
    return config


def _default(config: ConfigDict) -> dict[str, Any]:
    """The defaults of a config's stage."""
    if "eval" in config:
        return flatten(evaluation())
    return flatten(paper(config.stage) if config.stage in STAGES else base())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return {None: "open", "": "none", (): "none"}.get(value, str(value))
