"""The process of one stage: `python -m benchmarks.device.measure module:function OPTIONS`, a JSON line a row."""

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.device import stand_in


def rows(measures: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a stage, with machine, versions, commit, command and date.

    Args:
      measures: `module:function` in this folder; the function yields rows.
      options: its arguments, and "command" and "stage" for the rows.
    """
    stand_in.install()
    from benchmarks import common

    name, function = measures.split(":")
    options, about = dict(options), None
    command, stage = options.pop("command"), options.pop("stage")
    for row in getattr(importlib.import_module(f"benchmarks.device.{name}"), function)(**options):
        about = about or common.about(command)
        own = row.pop("machine", {})
        yield {"benchmark": "device", "stage": stage, **row, **about, "machine": about["machine"] | own}


def main() -> None:
    for row in rows(sys.argv[1], json.loads(sys.argv[2])):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
