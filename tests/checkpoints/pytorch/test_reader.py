"""PyTorch files are read as by PyTorch, and nothing in them ever runs.

`fixtures/torch/*.pt` were written by PyTorch 2.13 (`torch.save`, zip and older format) from the tensors of `EXPECTED`.
"""

import builtins
import os
import pickle
import struct
import subprocess
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
    assert isinstance(meter, reader.Inert) and meter.name == "AverageMeter"
    assert isinstance(loaded["settings"], reader.Inert) and loaded["settings"].name == "Settings"
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


@pytest.mark.parametrize("data", [b"\0\0\0\x20ftypisom", b"hello world\n", b"(lp0\n", b"\x80\x02}"])
def test_a_file_of_another_kind_is_refused_without_internals_of_pickles(tmp_path, data):
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        reader.load(path)
    remedy = "is not a PyTorch checkpoint, or it is truncated: name another file, or download it again"
    assert str(error.value) == f"{path} {remedy}"


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


def tensor(shape=(2, 2), strides=(2, 1), count=4, key="0", state=b""):
    """A tensor of a float32 storage as opcodes; `state` is set on it, if the reader lets it."""
    numbers = [b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in sizes) + b"t" for sizes in (shape, strides)]
    storage = [b"(", text("storage"), b"ctorch\nFloatStorage\n", text(key), text("cpu"), b"\x8a\x08"]
    storage += [struct.pack("<q", count), b"tQ"]
    return b"".join([b"ctorch._utils\n_rebuild_tensor_v2\n(", *storage, b"K\0", *numbers, b"\x89NtR", state])


def write_tensors(path, *tensors, stored=16):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        named = b"".join(text(f"t{i}") + tensor for i, tensor in enumerate(tensors))
        archive.writestr("archive/data.pkl", opcodes(b"}(", named, b"u"))
        archive.writestr("archive/data/0", np.arange(stored // 4, dtype=np.float32).tobytes())


@pytest.mark.parametrize("attribute", ["strides", "shape", "offset", "storage", "__class__"])
def test_a_file_sets_no_attribute(tmp_path, attribute):
    """The opcode BUILD gives an object a state: strides of 10^9, after they were checked, read outside the storage."""
    value = b"(" + (b"\x8a\x08" + struct.pack("<q", 10**9)) * 2 + b"t"
    in_dict, in_slots = b"}" + text(attribute) + value + b"s", b"N}" + text(attribute) + value + b"s\x86"
    for state in (in_dict, in_slots):
        write_tensors(tmp_path / "file.pt", tensor(state=state + b"b"))
        np.testing.assert_array_equal(reader.load(tmp_path / "file.pt")["t0"], [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("tensors", "stored", "message"),
    [
        ([tensor((10**10,), (0,))], 16, r"shape \(10000000000,\) repeats the 4 elements"),
        ([tensor((1,) * 100, (0,) * 100)], 16, "more than 32 dimensions"),
        ([tensor((2, -2))], 16, "shape"),
        ([tensor((2, 2), (2**62, 1))], 16, "reaches element"),
        ([tensor(), tensor((2,), (1,), count=2)], 16, "disagree about the type or the length of storage '0'"),
    ],
)
def test_impossible_tensors_are_one_line(tmp_path, tensors, stored, message):
    write_tensors(tmp_path / "file.pt", *tensors, stored=stored)
    with pytest.raises(UserError, match=rf"file\.pt .*{message}"):
        reader.load(tmp_path / "file.pt")


def write_big(name, size):
    """Writes `size` zeros as a member of a zip archive, compressed a thousandfold."""

    def write(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if name != "archive/data.pkl":
                archive.writestr("archive/data.pkl", opcodes(b"}", text("t0"), tensor(), b"s"))
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(size >> 20):
                    member.write(bytes(1 << 20))

    return write


def nested_key():
    """A dict whose key is a tuple of two equal tuples of two equal tuples ...: its hash takes for ever."""
    doubled = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(100))
    return opcodes(b"}K\1K\1\x86", doubled, b"Ns")


BOMBS = {
    "memo": lambda path: write_zip(path, opcodes(b"Nr" + struct.pack("<I", 2**28))),
    "data.pkl": write_big("archive/data.pkl", 200 << 20),
    "byteorder": write_big("archive/byteorder", 200 << 20),
    "storage": write_big("archive/data/0", 200 << 20),
    "lists": lambda path: write_zip(path, opcodes(b"(" + b"]" * 20_000_000 + b"l")),
    "lists, older format": lambda path: write_legacy(path, opcodes(b"(" + b"]" * 20_000_000 + b"l")),
    "key": lambda path: write_zip(path, nested_key()),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_need_small_memory(tmp_path, bomb):
    """Read by a process with a limit of memory and of time."""
    path = tmp_path / "bomb.pt"
    BOMBS[bomb](path)
    script = f"""
import resource, numpy
from relo_jax.checkpoints.pytorch import reader
from relo_jax.errors import UserError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    loaded = reader.load({str(path)!r})
    [numpy.asarray(tensor) for tensor in (loaded or dict()).values()]
    print("read")
except UserError as error:
    print("refused", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count("\n") == 1 and "MemoryError" not in done.stdout
    assert done.stdout.startswith("read" if bomb == "memo" else "refused"), done.stdout
