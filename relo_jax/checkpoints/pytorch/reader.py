"""Reads files of `torch.save` without PyTorch, and without running anything that they contain.

Such a file is a pickle whose tensors refer to raw storages: members of a zip archive (PyTorch 1.6 and newer), or bytes
appended to the pickles (older). A pickle is a program that may call any importable function, so unpickling a downloaded
checkpoint runs whatever its author put there. Here only a short list of names is real: ordered dicts, storages, and the
functions that build a tensor. Every other class or function in the file becomes an inert stand-in: nothing is imported,
a call returns another stand-in, and its state is dropped. `stats` and `settings` of the release's checkpoints become
such stand-ins.

Tensors are read on first use, so the optimiser state in a file costs nothing.
"""

import collections
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from relo_jax.errors import UserError

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


class Inert:
    """A stand-in for any class or function that is not needed: accepts every call and state, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "Inert":
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> "Inert":
        return Inert()

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        pass

    def extend(self, items: object) -> None:
        pass

    def add(self, item: object) -> None:
        pass


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
            except (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                raise UserError(f"the checkpoint is damaged or truncated: download it again ({error})") from None
        return self._elements


class Tensor:
    """A strided view of a storage, with shape and dtype known before its elements are read."""

    def __init__(self, storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]):
        numbers = (offset, *shape, *strides)
        if not all(type(n) is int and n >= 0 for n in numbers) or len(shape) != len(strides):
            raise UserError(f"a tensor has offset {offset}, shape {shape} and strides {strides}")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if math.prod(shape) and last >= storage.count:
            raise UserError(f"a tensor of shape {shape} reaches element {last} of a storage of {storage.count}")
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


class _Unpickler(pickle.Unpickler):
    """Unpickles plain data, ordered dicts and tensors; all else is inert. `read(key) -> bytes` reads a storage."""

    def __init__(self, file: IO[bytes], read: Callable[[str], bytes] | None = None):
        super().__init__(file, encoding="utf-8")
        self.read = read
        self.storages: dict[str, Storage] = {}
        # Bound methods, since a pickle can set attributes on objects that it names, and these refuse them.
        self.real = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor"): self.rebuild_tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): self.rebuild_parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self.rebuild_parameter,
        }

    def find_class(self, module, name):
        if (module, name) in self.real:
            return self.real[module, name]
        # A storage's class is only an argument of persistent ids, so its name is enough.
        if module == "torch" and name in STORAGES:
            return name
        return type(name.rpartition(".")[2], (Inert,), {"__module__": module})

    def persistent_load(self, reference):
        kind, *rest = reference
        if kind != "storage":
            return Inert()  # ("module", class, source file, source): a whole module pickled by an old version
        name, key, _location, count, *view = rest
        if name not in STORAGES:
            name = getattr(name, "__name__", name)  # UntypedStorage: of float8, uint16 and others
            raise UserError(f"a tensor is of a type that is not read ({name}): save it again as float32")
        if type(count) is not int or count < 0:
            raise UserError(f"a storage has {count} elements")
        if key not in self.storages:
            self.storages[key] = Storage(STORAGES[name], count, lambda: self.read(key))
        if view and view[0] is not None:
            raise UserError("it was written before PyTorch 0.4: load and save it again with a newer one")
        return self.storages[key]

    def rebuild_tensor(self, storage, offset, shape, strides, *_):
        return Tensor(storage, offset, shape, strides)

    def rebuild_parameter(self, tensor, *_):
        return tensor


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
    except PermissionError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:  # a hostile or truncated pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a PyTorch checkpoint, or it is truncated ({reason})") from None


def _load_zip(path):
    archive = zipfile.ZipFile(path)
    pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise UserError("a zip archive without data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    order = root + "byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise UserError("its numbers are big-endian: save it again on a little-endian machine")
    with archive.open(pickles[0]) as file:
        return _Unpickler(file, lambda key: archive.read(f"{root}data/{key}")).load()


def _load_legacy(path):
    data = {}
    with open(path, "rb") as file:
        if _Unpickler(file).load() != LEGACY_MAGIC or _Unpickler(file).load() != LEGACY_PROTOCOL:
            raise UserError("neither a zip archive nor the older format of torch.save")
        _Unpickler(file).load()  # byte order and type sizes of the machine that wrote it
        unpickler = _Unpickler(file, data.__getitem__)
        result = unpickler.load()
        for key in _Unpickler(file).load():
            (count,) = struct.unpack("<q", file.read(8))
            size = count * unpickler.storages[key].dtype.itemsize
            data[key] = file.read(size)
            if len(data[key]) < size:
                raise UserError(f"it ends {size - len(data[key])} bytes early")
    return result
