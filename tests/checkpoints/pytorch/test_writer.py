"""Files written without PyTorch are read as they were written. PyTorch 2.13 has read the same, with `weights_only`."""

import ml_dtypes
import numpy as np
import pytest

from relo_jax.checkpoints.pytorch import reader, writer

ARRAYS = {
    "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "half": np.float16([0.5, -1.25]),
    "bfloat16": np.asarray([0.5, 3e38], ml_dtypes.bfloat16),
    "count": np.int64([2**40, -1]),
    "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
}


def test_arrays_numbers_and_texts_come_back(tmp_path):
    writer.save(tmp_path / "a.pt", {"net": ARRAYS, "epoch": 90, "lr": 1e-4, "name": "relö", "last": True})
    loaded = reader.load(tmp_path / "a.pt")
    assert list(loaded["net"]) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded["net"][name].dtype == array.dtype and loaded["net"][name].shape == array.shape, name
        np.testing.assert_array_equal(np.asarray(loaded["net"][name]), array, err_msg=name)
    assert (loaded["epoch"], loaded["lr"], loaded["name"], loaded["last"]) == (90, 1e-4, "relö", True)


def test_what_pytorch_has_no_storage_for_is_refused(tmp_path):
    for value in (np.zeros(2, np.uint32), [1, 2], None):
        with pytest.raises(TypeError):
            writer.save(tmp_path / "a.pt", {"x": value})
    assert not list(tmp_path.iterdir())
