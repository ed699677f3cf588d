"""What only some users need is installed by extras: which package comes with which, and the line that says so.

relo: relo train needs grain, which is not installed: pip install "relo-jax[train]"
"""

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


def not_installed(error: ModuleNotFoundError, user: str) -> UserError | None:
    """The line for a package of an extra that is missing; None if the missing module is of no extra.

    Args:
      error: of the import.
      user: what needs the package, such as "relo train" or "relo_jax.evaluate".
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    other, users = _ALSO_IN.get(package, ("", ()))
    extra = other if user in users else EXTRAS[package]
    return UserError(f'{user} needs {package}, which is not installed: pip install "relo-jax[{extra}]"')
