"""Fields that have another name today. Old configs, checkpoints and command lines are read all the same."""

import sys

RENAMED = {  # name in old files -> name today
    "data.procedural.grain": "data.procedural.sensor_noise",
    "tracker.score_mass": "tracker.score_local_probability",
    "tracker.score_likeness": "tracker.score_appearance_similarity",
    "tracker.score_nearness": "tracker.score_center_proximity",
}
_said = set()


def with_current_names(values, where):
    """A config with today's names in place of old ones; says each new name once, on stderr.

    Args:
      values: nested dict, such as a run's `config.json`. Not changed.
      where: file or flag that the values come from, for the line.

    Returns:
      nested dict; anything that is not a dict is returned as it is.
    """
    for old, new in RENAMED.items():
        section, name = old.rsplit(".", 1)
        if name in _section(values, section):
            values = _renamed(values, section.split("."), name, new.rsplit(".", 1)[1])
            say_new_name(old, where)
    return values


def say_new_name(old, where):
    """One line on stderr for a field under its old name; the same one is said once."""
    if old not in _said:
        print(f"{where}: the field {old} is called {RENAMED[old]} today", file=sys.stderr)
    _said.add(old)


def _section(values, path):
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _renamed(values, path, old, new):
    """A copy; the value under the new name stays where both are there."""
    if not path:
        rest = {name: value for name, value in values.items() if name != old}
        return {new: values[old], **rest}
    return {**values, path[0]: _renamed(values[path[0]], path[1:], old, new)}
