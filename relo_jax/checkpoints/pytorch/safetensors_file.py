"""Reads and writes safetensors files: a JSON header with names, types and places, and raw numbers.

The library `safetensors` checks the header (at most 100 MB, every place within the file) before it allocates anything.
Tensors are read on first use.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  registers NumPy's bfloat16, in which the library returns BF16
import numpy as np
from numpy.typing import DTypeLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from relo_jax.errors import UserError
from relo_jax.files import atomic_write

SUFFIX = ".safetensors"
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64",
}  # fmt: skip
_PYTORCH = (b"PK\x03\x04", b"\x80\x02")  # zip archive, pickle
# The library's words -> ours.
_REASONS = {
    "header too large": "its header claims to be longer than 100 MB",
    "header too small": "it is shorter than a header",
    "invalid header length": "it ends within its header",
    "file not fully covered": "its length is not what its header says, so it is truncated or damaged",
    "invalid shape, data type, or offset": "a tensor's shape and type do not fit its place",
    "invalid offset": "two tensors overlap, or one lies outside the file",
}


class Tensor:
    """A tensor of an open file, with shape and dtype known before its elements are read."""

    def __init__(self, file: Any, name: str):
        entry = file.get_slice(name)
        self.file, self.name, self.code, self.shape = file, name, entry.get_dtype(), tuple(entry.get_shape())

    @property
    def dtype(self) -> np.dtype:
        """Raises UserError for a type that NumPy does not have, such as F8_E4M3."""
        if self.code not in DTYPES:
            raise UserError(f"it is of type {self.code}, which is not read: save it again as F32, F16 or BF16")
        return np.dtype(DTYPES[self.code])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        wanted = self.dtype if dtype is None else dtype  # checked first: the library fails on types that NumPy lacks
        return np.asarray(self.file.get_tensor(self.name), wanted)


def is_safetensors(path: Path | str) -> bool:
    """Whether a file is to be read as safetensors: by its first bytes, or by its name if they tell nothing."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError:
        start = b""
    return start[8:] == b"{" or (Path(path).suffix == SUFFIX and not start.startswith(_PYTORCH))


def load(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
      UserError: the file does not exist, is no safetensors file, or is truncated.
    """
    file = _opened(path)  # stays open as long as one of its tensors lives
    return {name: Tensor(file, name) for name in file.keys()}


def metadata(path: Path | str) -> dict[str, str]:
    """The texts in the header of a file. Raises UserError as `load` does."""
    return _opened(path).metadata() or {}


def save(path: Path | str, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Writes a file, atomically.

    Args:
      path: an existing file is replaced.
      arrays: by name; of any memory layout.
      texts: for the header.

    Raises:
      UserError: the file cannot be written.
    """
    # The library takes the bytes as they lie in memory, whatever the strides say.
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # as of any new file; the library makes one that only its owner reads
        try:
            save_file(whole, temporary, dict(texts))
            _sort_texts(temporary)
            temporary.chmod(mode)
        except SafetensorError as error:
            raise UserError(f"{path} cannot be written: {error}") from error


def _sort_texts(path: Path) -> None:
    """Puts the texts of a header in order. The library writes them in another one each time, and so other bytes."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        texts = dict(sorted(header.pop("__metadata__", {}).items()))
        data = json.dumps({"__metadata__": texts} | header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(data) <= length:  # the same characters; should the library come to write fewer, the order stays
            file.seek(8)
            file.write(data.ljust(length))


def _opened(path):
    """The open file. Raises UserError if it cannot be read."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        return safe_open(path, framework="np")
    except PermissionError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:  # SafetensorError, and an OSError where memory cannot be mapped
        text = str(error).removeprefix("Error while deserializing header: ").partition(", expected one of")[0]
        text = text.replace("unknown variant", "unknown type").replace("invalid JSON in header: unknown", "unknown")
        reason = next((ours for theirs, ours in _REASONS.items() if theirs in text), text.splitlines()[0])
        raise UserError(f"{path} is not a readable safetensors file: {reason}") from None
