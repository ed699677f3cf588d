"""A stand-in for ml_collections, for card machines that lack it: what configs of the benchmarks need, and no more.

Types are not checked and fields are not locked: nobody's command line is read here.
"""

import copy
import importlib.util
import sys
import types
from collections.abc import Mapping
from typing import Any


class ConfigDict(dict):
    """A dict whose items are attributes too."""

    def __init__(self, values: Mapping[str, Any] | None = None):
        super().__init__()
        for name, value in (values or {}).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        is_plain = isinstance(value, Mapping) and not isinstance(value, ConfigDict)
        super().__setitem__(name, ConfigDict(value) if is_plain else value)

    __setattr__ = __setitem__

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"the config has no field {name!r}")
        return self[name]

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts."""
        return {name: value.to_dict() if isinstance(value, ConfigDict) else value for name, value in self.items()}

    def copy_and_resolve_references(self) -> "ConfigDict":
        """A deep copy; there are no references."""
        return copy.deepcopy(self)


def install() -> None:
    """Makes `import ml_collections` work where the package is missing."""
    if "ml_collections" in sys.modules or importlib.util.find_spec("ml_collections"):
        return
    package, config_dict = types.ModuleType("ml_collections"), types.ModuleType("ml_collections.config_dict")
    package.__dict__.update(ConfigDict=ConfigDict, config_dict=config_dict)
    config_dict.__dict__.update(ConfigDict=ConfigDict, placeholder=lambda kind: None)
    sys.modules.update({"ml_collections": package, "ml_collections.config_dict": config_dict})
