"""Reads files of `torch.save` without PyTorch, and without running anything that they contain.

Such a file is a pickle whose tensors refer to raw storages: members of a zip archive (PyTorch 1.6 and newer), or bytes
appended to the pickles (older). `pickles` interprets it: dicts, lists, numbers and texts are as they are, tensors are
`Tensor`, all else is `Inert`, such as `stats` and `settings` of the release's checkpoints.

Tensors are read on first use, so the optimiser state in a file costs nothing. Sizes in the file are not believed: a
storage has to be as long as its tensors say, and a tensor has to lie within it.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from relo_jax.checkpoints.pytorch import pickles
from relo_jax.checkpoints.pytorch.pickles import Inert
from relo_jax.errors import UserError, in_one_line

__all__ = ["Inert", "Storage", "Tensor", "load"]

STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_DIMENSIONS = 32  # NumPy allows 64, PyTorch's own reader more; networks have 5
MAX_EXPANDED = 1 << 24  # elements of a tensor that repeats those of its storage (stride 0)
MAX_RATIO = 100  # of a compressed member; torch.save compresses nothing


class Storage:
    """Flat elements of one dtype. `read() -> bytes` is called once, when the first of its tensors is used."""

    def __init__(self, dtype: DTypeLike, count: int, read: Callable[[], bytes]):
        self.dtype, self.count, self.read = np.dtype(dtype), count, read
        self._elements: np.ndarray | None = None

    def elements(self) -> np.ndarray:
        """`[count]`. Raises UserError if the file lacks them."""
        if self._elements is None:
            try:
                self._elements = np.frombuffer(self.read(), self.dtype, self.count)
            except UserError:
                raise
            except (OSError, MemoryError) as error:
                raise UserError(f"the checkpoint cannot be read ({in_one_line(error)})") from None
            except Exception as error:  # a damaged archive can raise anything
                raise UserError("the checkpoint is damaged or truncated: download it again") from error
        return self._elements


class Tensor:
    """A strided view of a storage, with shape and dtype known before its elements are read."""

    def __init__(self, storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]):
        if not isinstance(storage, Storage):
            raise UserError(f"a tensor has a {type(storage).__name__} in place of a storage")
        if not all(isinstance(sizes, (tuple, list)) and len(sizes) <= MAX_DIMENSIONS for sizes in (shape, strides)):
            raise UserError(f"a tensor has more than {MAX_DIMENSIONS} dimensions, or none that can be read")
        numbers = (offset, *shape, *strides)
        if not all(type(n) is int and 0 <= n < 2**63 for n in numbers) or len(shape) != len(strides):
            raise UserError(f"a tensor has offset {offset}, shape {shape} and strides {strides}")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if math.prod(shape) and last >= storage.count:
            raise UserError(f"a tensor of shape {shape} reaches element {last} of a storage of {storage.count}")
        if math.prod(shape) > max(storage.count, MAX_EXPANDED):
            raise UserError(f"a tensor of shape {shape} repeats the {storage.count} elements of its storage")
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    @property
    def dtype(self) -> np.dtype:
        return self.storage.dtype

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        size = self.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            self.storage.elements()[self.offset :], self.shape, [size * stride for stride in self.strides]
        )
        return np.array(view, dtype)


class _Storages:
    """The storages of a file by key. `read(key, size) -> bytes` reads one of `size` bytes."""

    def __init__(self, read: Callable[[str, int], bytes]):
        self.read = read
        self.by_key: dict[str, Storage] = {}

    def persistent(self, reference: Any) -> Any:
        """What a pickle refers to outside itself: a `Storage`."""
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            return Inert("torch", "module")  # ("module", class, source file, source): a whole module, of old versions
        _, kind, key, _location, count, *view = reference
        if not isinstance(kind, Inert) or not isinstance(key, str):
            raise UserError("a tensor refers to a storage without a type or a name")
        if kind.module != "torch" or kind.name not in STORAGES:  # UntypedStorage: of float8, uint16 and others
            raise UserError(f"a tensor is of a type that is not read ({kind.name[:40]}): save it again as float32")
        if type(count) is not int or not 0 <= count < 2**60:
            raise UserError(f"a storage has {count} elements")
        if view and view[0] is not None:
            raise UserError("it was written before PyTorch 0.4: load and save it again with a newer one")
        dtype = np.dtype(STORAGES[kind.name])
        known = self.by_key.setdefault(key, Storage(dtype, count, lambda: self.read(key, count * dtype.itemsize)))
        if (known.dtype, known.count) != (dtype, count):
            raise UserError(f"two tensors disagree about the type or the length of storage {key[:40]!r}")
        return known


def _ordered_dict(items=()):
    return dict(items)


def _tensor(storage, offset, shape, strides, *_):
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor, *_):
    return tensor


CALLS: pickles.Calls = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}


def load(path: Path | str) -> Any:
    """The object in a file of `torch.save`: dicts and lists as they are, tensors as `Tensor`, other objects as `Inert`.

    Args:
      path: a `.pth.tar`, `.pth` or `.pt` file, a zip archive or older.

    Raises:
      UserError: the file does not exist, is not PyTorch's, or is truncated.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return _load_zip(path) if zipfile.is_zipfile(path) else _load_legacy(path)
    except UserError as error:
        raise UserError(f"{path} is not a readable PyTorch checkpoint: {error}") from None
    except (OSError, MemoryError) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or in_one_line(error)})") from None
    except Exception as error:  # a hostile or truncated pickle can raise anything, which tells a user nothing
        raise UserError(
            f"{path} is not a PyTorch checkpoint, or it is truncated: name another file, or download it again"
        ) from error


def _load_zip(path):
    archive = zipfile.ZipFile(path)
    members = {member.filename: member for member in archive.infolist()}
    described = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(described) != 1:
        raise UserError("a zip archive without data.pkl")
    root = described[0].removesuffix("data.pkl")
    if root + "byteorder" in members and _member(archive, members[root + "byteorder"], 16) != b"little":
        raise UserError("its numbers are big-endian: save it again on a little-endian machine")

    def read(key, size):
        member = members[f"{root}data/{key}"]
        if member.file_size > size:
            raise UserError(f"storage {key[:40]!r} has {member.file_size} bytes, and its tensors say {size}")
        return _member(archive, member, size)

    description = _member(archive, members[described[0]], pickles.MAX_BYTES)
    return pickles.load(io.BytesIO(description), CALLS, _Storages(read).persistent)


def _member(archive, member, most):
    """The bytes of a member, which may be at most `most`."""
    if member.file_size > most:
        raise UserError(f"{member.filename[-40:]!r} in it has {member.file_size} bytes, more than {most}")
    if member.file_size > max(MAX_RATIO * member.compress_size, 1 << 20):
        raise UserError(f"{member.filename[-40:]!r} in it is compressed more than {MAX_RATIO}-fold: unpack it first")
    return archive.read(member)


def _load_legacy(path):
    data = {}
    with open(path, "rb") as file:
        if pickles.load(file, CALLS) != LEGACY_MAGIC or pickles.load(file, CALLS) != LEGACY_PROTOCOL:
            raise UserError("neither a zip archive nor the older format of torch.save")
        pickles.load(file, CALLS)  # byte order and type sizes of the machine that wrote it
        storages = _Storages(lambda key, size: data[key])
        result = pickles.load(file, CALLS, storages.persistent)
        for key in pickles.load(file, CALLS):
            (count,) = struct.unpack("<q", file.read(8))
            storage = storages.by_key[key]
            if count != storage.count:
                raise UserError(f"storage {key[:40]!r} has {count} elements, and its tensors say {storage.count}")
            size = count * storage.dtype.itemsize
            data[key] = file.read(size)
            if len(data[key]) < size:
                raise UserError(f"it ends {size - len(data[key])} bytes early")
    return result
