"""Fields that were renamed or removed. Configs, checkpoints and command lines with the old names are still read."""

import sys
from collections.abc import Mapping
from pathlib import Path

RENAMED = {  # name in old files -> current name
    "data.procedural.grain": "data.procedural.sensor_noise",
    "tracker.score_mass": "tracker.score_local_probability",
    "tracker.score_likeness": "tracker.score_appearance_similarity",
    "tracker.score_nearness": "tracker.score_center_proximity",
}
REMOVED = {  # name in old files -> the value without an effect, and what to do about others
    "mesh.model": (1, "its devices repeated the work of others; config.mesh.frames shares the frames of a clip"),
}
_reported: set[str] = set()


def with_current_names(values: Mapping, where: Path | str) -> Mapping:
    """A config with current names in place of old ones and without removed fields; reports each once, on stderr.

    Args:
      values: nested dict, such as a run's `config.json`. Not changed; anything but a dict is returned as it is.
      where: file or flag that the values come from, for the message.
    """
    for old, new in RENAMED.items():
        section, name = old.rsplit(".", 1)
        if name in _section(values, section):
            values = _renamed(values, section.split("."), name, new.rsplit(".", 1)[1])
            report_new_name(old, where)
    for old, (idle, advice) in REMOVED.items():
        section, name = old.rsplit(".", 1)
        if name in _section(values, section):
            if _section(values, section)[name] != idle and old not in _reported:
                print(f"{where}: the field {old} is ignored: {advice}", file=sys.stderr)
                _reported.add(old)
            values = _without(values, section.split("."), name)
    return values


def report_new_name(old: str, where: Path | str) -> None:
    """Prints the new name of a field on stderr, once for each field."""
    if old not in _reported:
        print(f"{where}: the field {old} is now called {RENAMED[old]}", file=sys.stderr)
    _reported.add(old)


def _section(values: object, path: str) -> Mapping:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _without(values: Mapping, path: list[str], name: str) -> dict:
    """A copy without one field."""
    if not path:
        return {key: value for key, value in values.items() if key != name}
    return {**values, path[0]: _without(values[path[0]], path[1:], name)}


def _renamed(values: Mapping, path: list[str], old: str, new: str) -> dict:
    """A copy with the value under the new name, which keeps its own value if it is there too."""
    if not path:
        rest = {name: value for name, value in values.items() if name != old}
        return {new: values[old], **rest}
    return {**values, path[0]: _renamed(values[path[0]], path[1:], old, new)}
