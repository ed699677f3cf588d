"""What only some users need is installed by extras: which package comes with which, and the line that says so.

relo: relo train needs grain, which is not installed: pip install "relo-jax[train]"
"""

import importlib.util
from collections.abc import Sequence

from relo_jax.errors import UserError

EXTRAS = {  # package, as it is imported -> the extra that brings it; pyproject.toml lists them
    "grain": "train",
    "optax": "train",
    "tensorboardX": "train",
    "matplotlib": "report",
    "array_record": "data",
    "tensorflow_datasets": "data",
    "supervision": "supervision",
    "onnx": "export",
    "onnxruntime": "onnx",
    "openvino": "openvino",
}
_TRAIN = (  # commands and names of relo_jax that train
    "relo demo", "relo profile", "relo rehearse", "relo study", "relo train", "relo_jax.train_and_evaluate",
    "relo_jax.History", "relo_jax.LiveCurves", "relo_jax.StopTraining",
)  # fmt: skip
# Packages that another extra has too: that one is named to those who need it as a whole.
_ALSO_IN = {"matplotlib": ("train", _TRAIN), "onnxruntime": ("export", ("relo export",))}


class NotInstalled(ModuleNotFoundError):
    """Packages of extras that are missing; the message has the remedy for all of them."""

    def __init__(self, packages: Sequence[str]):
        super().__init__(f"{_named(packages)} not installed: {_remedy(packages, '')}", name=packages[0])
        self.packages = packages


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def check_installed(*packages: str) -> None:
    """Raises NotInstalled for those of the packages that are missing."""
    if missing := [package for package in dict.fromkeys(packages) if not is_installed(package)]:
        raise NotInstalled(missing)


def not_installed(error: ModuleNotFoundError, user: str) -> UserError | None:
    """The line for a package of an extra that is missing; None if the missing module is of no extra.

    Args:
      error: of the import, or of `check_installed`.
      user: what needs the package, such as "relo train" or "relo_jax.evaluate".
    """
    packages = error.packages if isinstance(error, NotInstalled) else [(error.name or "").partition(".")[0]]
    if not set(packages) <= set(EXTRAS):
        return None
    names, _, verb = _named(packages).rpartition(" ")
    return UserError(f"{user} needs {names}, which {verb} not installed: {_remedy(packages, user)}")


def _named(packages: Sequence[str]) -> str:
    """The packages and their verb: `onnx is`, `openvino, onnx and onnxruntime are`."""
    *before, last = packages
    return f"{', '.join(before)} and {last} are" if before else f"{last} is"


def _remedy(packages: Sequence[str], user: str) -> str:
    """The command that installs the extras of packages; `user` as above."""
    also = [_ALSO_IN.get(package, ("", ())) for package in packages]
    extras = [other if user in users else EXTRAS[one] for one, (other, users) in zip(packages, also, strict=True)]
    needed = [extra for extra in dict.fromkeys(extras) if extra != "onnx" or "export" not in extras]  # has it too
    return f'pip install "relo-jax[{",".join(needed)}]"'
