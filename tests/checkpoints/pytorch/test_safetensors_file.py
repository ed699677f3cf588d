"""safetensors are read and written by the library; every broken file is one clear line with its name."""

import stat
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from relo_jax.checkpoints.pytorch import safetensors_file, writer
from relo_jax.errors import UserError
from tests.checkpoints.checks import one_line
from tests.checkpoints.files import safetensors_bytes

ONE = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
DATA = b"\0" * 8
WHOLE = safetensors_bytes(ONE, DATA)


def entry(**fields):
    return {"a": ONE["a"] | fields}


BROKEN = {
    "empty": (b"", "shorter than a header"),
    "three bytes": (WHOLE[:3], "shorter than a header"),
    "cut in the header": (WHOLE[:20], "ends within its header"),
    "cut in the numbers": (WHOLE[:-1], "truncated or damaged"),
    "numbers left over": (WHOLE + b"\0", "truncated or damaged"),
    "header of 2 GB": (safetensors_bytes({}, length=2 << 30), "header claims to be longer than 100 MB"),
    "header of 16 EB": (b"\xff" * 8 + b"{}", "header claims to be longer than 100 MB"),
    "no JSON": (safetensors_bytes(b"hello"), "invalid JSON"),
    "no UTF-8": (safetensors_bytes(b"\xff\xfe{}"), "header"),
    "JSON of another kind": (safetensors_bytes(b"[1, 2]"), "invalid JSON"),
    "offsets out of range": (safetensors_bytes(entry(data_offsets=[0, 800]), DATA), "do not fit its place"),
    "offsets reversed": (safetensors_bytes(entry(data_offsets=[8, 0]), DATA), "overlap, or one lies outside"),
    "another shape": (safetensors_bytes(entry(shape=[3]), DATA), "do not fit its place"),
    "unknown type": (safetensors_bytes(entry(dtype="I4"), DATA), "unknown type `I4`$"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line(name, tmp_path):
    content, message = BROKEN[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    one_line(safetensors_file.load, path, match=rf"x\.safetensors is not a readable safetensors file: .*{message}")


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    one_line(safetensors_file.load, tmp_path / "x.safetensors", match=r"x\.safetensors: no such file")
    one_line(safetensors_file.load, tmp_path, match="no such file")


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2", "F4"])
def test_a_type_without_numpy_is_named_when_its_tensor_is_read(code, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(entry(dtype=code, shape=[16 if code == "F4" else 8]), DATA))
    tensor = safetensors_file.load(path)["a"]
    with pytest.raises(UserError, match=f"of type {code}, which is not read: save it again as F32, F16 or BF16"):
        np.asarray(tensor)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.uint8, bool])
def test_tensors_are_read_as_they_were_written(dtype, tmp_path):
    array = np.array([[0.5, -3, 0], [1, 2, 250]], np.float32).astype(dtype)
    save_file({"a": array, "scalar": np.zeros((), dtype)}, tmp_path / "x.safetensors", {"format": "np"})
    tensors = safetensors_file.load(tmp_path / "x.safetensors")
    read = np.asarray(tensors["a"])
    assert (tensors["a"].shape, tensors["a"].dtype, read.dtype) == ((2, 3), array.dtype, array.dtype)
    np.testing.assert_array_equal(read, array)
    assert tensors["scalar"].shape == np.asarray(tensors["scalar"]).shape == ()
    assert safetensors_file.metadata(tmp_path / "x.safetensors") == {"format": "np"}


def test_a_file_is_written_whole_whatever_the_strides(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    path = tmp_path / "x.safetensors"
    safetensors_file.save(path, {"t": array.T, "window": array[1:3, ::2], "scalar": np.int64(7)}, {"format": "pt"})
    read = load_file(path)
    np.testing.assert_array_equal(read["t"], array.T)
    np.testing.assert_array_equal(read["window"], array[1:3, ::2])
    assert read["scalar"].shape == () and read["scalar"] == 7
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {file.name for file in tmp_path.iterdir()} == {"x.safetensors", "plain"}
    one_line(safetensors_file.save, tmp_path / "no" / "x.safetensors", {}, {}, match="there is no folder")


def test_the_content_decides_and_not_the_name(tmp_path):
    (tmp_path / "a.pt").write_bytes(WHOLE)
    writer.save(tmp_path / "b.safetensors", {"a": np.zeros(1, np.float32)})
    (tmp_path / "c.safetensors").write_bytes(b"hello")
    names = ("a.pt", "b.safetensors", "c.safetensors", "missing.safetensors", "missing.pt")
    assert [safetensors_file.is_safetensors(tmp_path / n) for n in names] == [True, False, True, True, False]


def test_the_same_content_gives_the_same_bytes_in_every_process(tmp_path):
    """The library orders the texts by a hash that each process seeds anew."""
    code = (
        "import sys, numpy as np; from relo_jax.checkpoints.pytorch import safetensors_file as f; "
        "f.save(sys.argv[1], {'b': np.ones(3, np.float32), 'a': np.zeros(2)}, {k: k + ' \u00e9\"' for k in 'zyxwvuts'})"
    )
    paths = [tmp_path / f"{k}.safetensors" for k in range(4)]
    for path in paths:
        subprocess.run([sys.executable, "-c", code, path], check=True)
    assert len({path.read_bytes() for path in paths}) == 1
    assert safetensors_file.metadata(paths[0]) == {k: f'{k} \u00e9"' for k in "zyxwvuts"}
    np.testing.assert_array_equal(load_file(paths[0])["b"], np.ones(3, np.float32))
