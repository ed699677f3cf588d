"""One shard of a built dataset: written, read back, compared with the folders, and put in its place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from relo_jax.data.records import tfds, tiled_jpeg
from relo_jax.data.records.examples import Records, digest
from relo_jax.errors import UserError

# A record for itself. With 16 to a group, reading one at random takes eight times as long; the size is the same.
OPTIONS = "group_size:1"
_BLOCK = 1 << 22  # bytes read at a time for a checksum


def write(records: Records, kind: str, numbers: range, path: Path, done=lambda: None) -> dict:
    """Writes the records `numbers` of a config to `path`, and checks them.

    Args:
      done: called after each record.

    Returns:
      What is noted of a shard: records, record_bytes (without the file's own), tiled (images that are JPEG in tiles),
      bytes, blake2b, and the problems of its images as rows.

    Raises:
      UserError: a record does not come back as it was in the folders.
    """
    from array_record.python import array_record_module

    serialize = tfds.serializer(kind)
    writer = array_record_module.ArrayRecordWriter(str(path), OPTIONS)
    digests, problems, size, tiled = [], [], 0, 0
    for example, problem in records.examples(kind, numbers):
        record = serialize(example)
        writer.write(record)
        digests.append(digest(example))
        problems += [problem] if problem else []
        size += len(record)
        header = tiled_jpeg.read_header(example["image"]) if kind == "frames" else None
        tiled += bool(header and header.tiled)
        done()
    writer.close()
    compare(path, kind, digests)
    with open(path, "rb+") as file:  # on the disk before it is noted
        os.fsync(file.fileno())
    rows = tfds.rows(problems)
    length = path.stat().st_size
    counts = {"records": len(digests), "record_bytes": size, "tiled": tiled, "bytes": length}
    return {**counts, "blake2b": checksum(path), "problems": rows}


def compare(path: Path, kind: str, digests: list[bytes]) -> None:
    """Reads every record of a shard and compares it with the examples that it is to hold, given by their digests.

    Raises:
      UserError: another number of records, one that differs, or one that cannot be read.
    """
    from array_record.python import array_record_module

    parse = tfds.parser(kind)
    reader = None
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        if reader.num_records() != len(digests):
            raise RuntimeError(f"{reader.num_records()} records for {len(digests)} {kind}")
        for number, wanted in enumerate(digests):
            if digest(parse(reader.read([number])[0])) != wanted:
                raise RuntimeError(f"record {number} is not what was written")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: does not read back ({error}): check the disk, and run it again") from None
    finally:
        if reader is not None:
            reader.close()


def as_noted(path, shard: dict, thorough: bool) -> bool:
    """Whether a shard is there as it was written; by its size, or by all its bytes."""
    if not path.exists() or path.stat().length != shard["bytes"]:
        return False
    return not thorough or checksum(path) == shard["blake2b"]


def checksum(path) -> str:
    """BLAKE2b of a file, local or in a bucket."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def move(file: Path, path, shard: dict) -> None:
    """Puts a finished shard in its place; in a bucket it is read again there.

    Raises:
      UserError: it is not what was uploaded.
    """
    from etils import epath

    if is_local(path):
        os.replace(file, path)
        return
    epath.Path(file).copy(path, overwrite=True)
    file.unlink()
    if not as_noted(path, shard, thorough=True):
        raise UserError(f"{path}: is not what was uploaded: run it again")


def put(path, text: str, scratch: Path) -> None:
    """Writes a small file whole."""
    if not is_local(path):
        path.write_text(text)  # an object in a bucket appears when it is complete
        return
    (scratch / path.name).write_text(text)
    os.replace(scratch / path.name, path)


def is_local(path) -> bool:
    """Whether it is a file of this machine's, and not gs://."""
    return "://" not in str(path)
