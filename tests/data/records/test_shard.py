"""A shard is read back and compared, record by record."""

import pytest

from relo_jax.data.records import shard
from relo_jax.data.records.examples import SplitExamples, digest
from relo_jax.errors import UserError


def test_a_shard_that_does_not_read_back_is_an_error(lasot, tmp_path):
    examples = SplitExamples(lasot.open_folders())
    digests = [digest(examples.example("frames", k)[0]) for k in range(5)]
    shard.write(examples, "frames", range(5), tmp_path / "shard")
    shard.verify(tmp_path / "shard", "frames", digests)
    with pytest.raises(UserError, match="record 3 is not what was written"):
        shard.verify(tmp_path / "shard", "frames", [*digests[:3], digests[0], digests[4]])
    with pytest.raises(UserError, match="5 records for 4 frames"):
        shard.verify(tmp_path / "shard", "frames", digests[:4])
    data = bytearray((tmp_path / "shard").read_bytes())
    for position in range(200, 15_000, 1_000):  # there are 16,000 bytes of records; the rest pads blocks
        (tmp_path / "damaged").write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(UserError, match="damaged: does not read back"):
            shard.verify(tmp_path / "damaged", "frames", digests)
