"""PyTorch files are read as by PyTorch, and nothing in them ever runs.

`fixtures/torch/*.pt` were written by PyTorch 2.13 (`torch.save`, zip and older format) from the tensors of `EXPECTED`.
"""

import builtins
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import reader
from relo_jax.errors import UserError

FIXTURES = Path(__file__).parents[2] / "fixtures"
RAMP = np.arange(24, dtype=np.float32)
EXPECTED = {
    "whole": RAMP.reshape(4, 6),
    "transposed": RAMP.reshape(4, 6).T,  # the first four share one storage
    "window": RAMP.reshape(4, 6)[1:3, 2:5],
    "every_second": RAMP[1::2],
    "expanded": np.float32([[7, 7, 7], [8, 8, 8]]),  # stride 0
    "scalar": np.float32(3.5),
    "empty": np.zeros((0, 4), np.float32),
    "parameter": np.float32([1, -2]),
    "float16": np.float16([0.5, -1.25, 65504]),
    "bfloat16": np.asarray([0.5, -1.25, 3e38], ml_dtypes.bfloat16),
    "float64": np.float64([1e-300, 2]),
    "int64": np.int64([2**40, -1]),
    "int32": np.int32([1, -7]),
    "uint8": np.uint8([0, 255]),
    "bool": np.array([True, False]),
}


@pytest.mark.parametrize("name", ["dtypes_zip.pt", "dtypes_legacy.pt"])
def test_views_shared_storages_and_dtypes(name):
    loaded = reader.load(FIXTURES / "torch" / name)
    assert list(loaded["net"]) == list(EXPECTED)
    for key, expected in EXPECTED.items():
        array = np.asarray(loaded["net"][key])
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), key
        np.testing.assert_array_equal(array, expected, err_msg=key)
    assert loaded["net"]["whole"].storage is loaded["net"]["window"].storage
    assert {k: loaded[k] for k in ("epoch", "size", "lr", "name")} == {
        "epoch": 3, "size": (2, 3), "lr": 1e-4, "name": "relo"
    }  # fmt: skip


def test_objects_of_unknown_classes_are_inert():
    loaded = reader.load(FIXTURES / "relo_tiny.pth.tar")
    meter = loaded["stats"]["train"]["Loss/Total"]
    assert isinstance(meter, reader.Inert) and type(meter).__name__ == "AverageMeter"
    assert isinstance(loaded["settings"], reader.Inert) and vars(loaded["settings"]) == {}
    assert "lib" not in sys.modules
    assert loaded["epoch"] == 90


class Reduce:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args, state) if state is not None else (function, args)

    def __reduce__(self):
        return self.call


def write_zip(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)


def write_legacy(path, data):
    head = [reader.LEGACY_MAGIC, reader.LEGACY_PROTOCOL, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(x, 2) for x in head) + data + pickle.dumps([], 2))


def opcodes(*parts):
    """A pickle made by hand, since `pickle.dumps` would not write it."""
    return b"\x80\x02" + b"".join(parts) + b"."


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def hostile(tmp_path):
    """Pickles by name that would leave a file or an attribute behind if anything in them ran."""
    mark = str(tmp_path / "mark")
    touch = f"__import__('pathlib').Path({mark!r}).touch()"
    (tmp_path / "hostile_module.py").write_text(touch + "\nclass Thing:\n    pass\n")
    dumps = {f"protocol {p}": lambda *calls, p=p: pickle.dumps({"net": list(calls)}, p) for p in (0, 2, 4, 5)}
    for name, dump in dumps.items():
        yield f"os.system, {name}", dump(Reduce(os.system, f"touch {mark}"))
        yield f"eval, {name}", dump(Reduce(builtins.eval, touch), Reduce(builtins.exec, touch))
        yield f"import, {name}", dump(Reduce(__import__, "hostile_module"))
    yield "import of a class", opcodes(b"chostile_module\nThing\n)\x81}", text("a"), text("b"), b"sb")
    yield "INST", opcodes(b"(", text(f"touch {mark}"), b"ios\nsystem\n")
    yield "OBJ", opcodes(b"(cos\nsystem\n", text(f"touch {mark}"), b"o")
    # getattr(__import__("os"), "system")("touch ..."): the result of one call is called by the next
    yield "chain", opcodes(
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n", text("os"), b"\x85R", text("system"), b"tR",
        text(f"touch {mark}"), b"\x85R",
    )  # fmt: skip
    # state set on a real name: OrderedDict's class, and the function that rebuilds tensors
    yield "BUILD on a class", opcodes(b"ccollections\nOrderedDict\n}", text("__init__"), b"cos\nsystem\nsb")
    build = opcodes(b"ctorch._utils\n_rebuild_tensor_v2\nN}", text("__code__"), text("x"), b"s\x86b")
    yield "BUILD on a function", build
    yield "operator", opcodes(b"coperator\nattrgetter\n", text("system"), b"\x85Rcos\nsystem\n\x85R")


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_nothing_in_a_file_runs(tmp_path, monkeypatch, write):
    monkeypatch.syspath_prepend(str(tmp_path))
    cases = dict(hostile(tmp_path))
    assert len(cases) == 19
    for name, data in cases.items():
        path = tmp_path / "file.pt"
        write(path, data)
        try:
            reader.load(path)
        except UserError:
            pass  # an error is as good as an inert object
        assert not (tmp_path / "mark").exists(), name
        assert "hostile_module" not in sys.modules, name
    loaded = reader.load(FIXTURES / "torch" / "dtypes_zip.pt")  # the real functions are unchanged
    np.testing.assert_array_equal(loaded["net"]["window"], EXPECTED["window"])


def test_the_hostile_pickles_would_run(tmp_path):
    path = tmp_path / "mark"
    data = dict(hostile(tmp_path))
    for name in ("eval, protocol 2", "chain", "INST"):
        pickle.loads(data[name])
        assert path.exists(), name
        path.unlink()


def test_a_tensor_cannot_exceed_its_storage():
    storage = reader.Storage(np.float32, 6, lambda: RAMP[:6].tobytes())
    np.testing.assert_array_equal(reader.Tensor(storage, 1, (2, 2), (3, 1)), [[1, 2], [4, 5]])
    outside = [(2, (2, 2), (3, 1)), (0, (7,), (1,)), (-1, (1,), (1,)), (0, (2,), (-1,)), (0, (2,), ())]
    for offset, shape, strides in outside:
        with pytest.raises(UserError):
            reader.Tensor(storage, offset, shape, strides)


@pytest.mark.parametrize("name", ["dtypes_zip.pt", "dtypes_legacy.pt"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99, 1.0])
def test_a_truncated_file_says_so_in_one_line(tmp_path, name, share):
    data = (FIXTURES / "torch" / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: min(int(share * len(data)), len(data) - 1)])
    with pytest.raises(UserError, match=name) as error:
        reader.load(path)
    message = str(error.value)
    assert "\n" not in message and ("truncated" in message or "early" in message)


def test_a_type_that_is_not_read_is_named(tmp_path):
    """PyTorch saves float8 and other young types as storages without a type."""
    storage = [b"(", text("storage"), b"ctorch.storage\nUntypedStorage\n", text("0"), text("cpu"), b"K\x08tQ"]
    write_zip(tmp_path / "float8.pt", opcodes(*storage))
    with pytest.raises(UserError, match=r"float8\.pt .* not read \(UntypedStorage\): save it again as float32"):
        reader.load(tmp_path / "float8.pt")


def test_a_damaged_storage_is_noticed_when_its_tensor_is_read(tmp_path):
    path = tmp_path / "damaged.pt"
    with zipfile.ZipFile(FIXTURES / "torch" / "dtypes_zip.pt") as whole, zipfile.ZipFile(path, "w") as cut:
        for name in whole.namelist():
            data = whole.read(name)
            cut.writestr(name, data[:-4] if "/data/" in name else data)
    loaded = reader.load(path)
    with pytest.raises(UserError, match="truncated"):
        np.asarray(loaded["net"]["whole"])


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        reader.load(tmp_path / "missing.pt")
    text = tmp_path / "notes.txt"
    text.write_text("not a checkpoint\n")
    with pytest.raises(UserError, match=r"notes\.txt"):
        reader.load(text)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.txt", "x")
    with pytest.raises(UserError, match="without data.pkl"):
        reader.load(tmp_path / "photos.zip")
