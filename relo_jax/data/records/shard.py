"""One shard of a built dataset: written, read back, compared with the folders and moved into place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from relo_jax.data.records import tfds, tiled_jpeg
from relo_jax.data.records.examples import SplitExamples, digest
from relo_jax.errors import UserError

if TYPE_CHECKING:
    from etils import epath

# One record per group. With 16, reading a random record takes eight times as long, and the file is no smaller.
OPTIONS = "group_size:1"
_BLOCK = 1 << 22  # bytes to read at a time for a checksum


def write(
    examples: SplitExamples, kind: str, numbers: range, path: Path, on_record: Callable[[], None] = lambda: None
) -> dict:
    """Writes the examples `numbers` of a config to `path`, and verifies the file.

    Args:
      on_record: called after each record.

    Returns:
      The note of the shard: records, record_bytes (without the file's overhead), tiled (number of tiled JPEGs), bytes,
      blake2b, and the problems of its images as rows.

    Raises:
      UserError: a record does not read back as it was in the folders.
    """
    from array_record.python import array_record_module

    serialize = tfds.serializer(kind)
    writer = array_record_module.ArrayRecordWriter(str(path), OPTIONS)
    digests, problems, size, tiled = [], [], 0, 0
    for example, problem in examples.examples(kind, numbers):
        record = serialize(example)
        writer.write(record)
        digests.append(digest(example))
        problems += [problem] if problem else []
        size += len(record)
        header = tiled_jpeg.read_header(example["image"]) if kind == "frames" else None
        tiled += bool(header and header.tiled)
        on_record()
    writer.close()
    verify(path, kind, digests)
    with open(path, "rb+") as file:  # must be on the disk before it is noted
        os.fsync(file.fileno())
    return {
        "records": len(digests), "record_bytes": size, "tiled": tiled, "bytes": path.stat().st_size,
        "blake2b": checksum(path), "problems": tfds.problem_rows(problems),
    }  # fmt: skip


def verify(path: Path, kind: str, digests: list[bytes]) -> None:
    """Reads every record of a shard and compares it with the examples that it should hold, given by their digests.

    Raises:
      UserError: the number of records is wrong; a record differs or cannot be read.
    """
    from array_record.python import array_record_module

    parse = tfds.parser(kind)
    reader = None
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        if reader.num_records() != len(digests):
            raise RuntimeError(f"{reader.num_records()} records for {len(digests)} {kind}")
        for number, expected in enumerate(digests):
            if digest(parse(reader.read([number])[0])) != expected:
                raise RuntimeError(f"record {number} is not what was written")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: does not read back ({error}): check the disk, and run it again") from None
    finally:
        if reader is not None:
            reader.close()


def is_intact(path: epath.Path, note: dict, thorough: bool) -> bool:
    """Whether a shard is as it was written, by its size or, if `thorough`, by all its bytes."""
    if not path.exists() or path.stat().length != note["bytes"]:
        return False
    return not thorough or checksum(path) == note["blake2b"]


def checksum(path: Path | epath.Path) -> str:
    """BLAKE2b of a file, local or in a bucket."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def move(file: Path, path: epath.Path, note: dict) -> None:
    """Moves a finished shard into place. In a bucket, reads it again there.

    Raises:
      UserError: the uploaded file differs.
    """
    from etils import epath

    if is_local(path):
        os.replace(file, path)
        return
    epath.Path(file).copy(path, overwrite=True)
    file.unlink()
    if not is_intact(path, note, thorough=True):
        raise UserError(f"{path}: is not what was uploaded: run it again")


def write_text(path: epath.Path, text: str, scratch: Path) -> None:
    """Writes a small file atomically, by way of the folder `scratch`."""
    if not is_local(path):
        path.write_text(text)  # an object in a bucket appears when it is complete
        return
    (scratch / path.name).write_text(text)
    os.replace(scratch / path.name, path)


def is_local(path: str | os.PathLike) -> bool:
    """Whether a path is on this machine, rather than gs://."""
    return "://" not in str(path)
