"""Writes files that `torch.load` reads, without PyTorch: dicts of arrays, numbers and texts.

    save("fast_itpn.pt", {"model": {"blocks.0.norm2.weight": np.ones(96, np.float32)}})

The format is the zip archive of PyTorch 1.6 and newer: a pickle of protocol 2, in which each tensor refers to a storage
by its number, and a member with the bytes of each storage. `reader` reads it.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from relo_jax.checkpoints.pytorch.reader import STORAGES
from relo_jax.files import atomic_write

_CLASSES = {np.dtype(dtype): name for name, dtype in STORAGES.items()}
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can have


def save(path: Path | str, content: Mapping) -> None:
    """Writes a file as `torch.save` does.

    Args:
      path: of the file; an existing one is replaced.
      content: nested dicts of arrays, integers, floats and strings, with strings as keys.

    Raises:
      TypeError: a value of another type.
      UserError: the file cannot be written.
    """
    arrays: list[np.ndarray] = []
    pickled = b"\x80\x02" + _value(content, arrays) + b"."
    with atomic_write(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", _DATE), data)
        for number, array in enumerate(arrays):
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            archive.writestr(zipfile.ZipInfo(f"archive/data/{number}", _DATE), little.tobytes())


def _value(value: object, arrays: list[np.ndarray]) -> bytes:
    """The opcodes that leave a value on the pickle's stack. Arrays are appended to `arrays`."""
    if isinstance(value, Mapping):
        items = b"".join(_text(name) + _value(item, arrays) for name, item in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return _tensor(value, len(arrays) - 1)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    raise TypeError(f"a file of PyTorch cannot have {type(value).__name__} here")


def _tensor(array: np.ndarray, number: int) -> bytes:
    """A call of the function that rebuilds a tensor: of storage, offset, shape, strides, gradient flag and hooks."""
    if array.dtype not in _CLASSES:
        raise TypeError(f"PyTorch has no storage of {array.dtype}")
    shape = array.shape
    strides = [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]
    storage = b"ctorch\n" + _CLASSES[array.dtype].encode() + b"\n"
    reference = b"(" + _text("storage") + storage + _text(str(number)) + _text("cpu") + _integer(array.size) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    numbers = _integer(0) + _integers(shape) + _integers(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + numbers + b"\x89" + hooks + b"tR"


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)


def _integers(numbers: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"
