"""What a command left in its working directory, in a form that is equal for two runs that did the same."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np

from relo_jax.checkpoints import checksums

# Names of JSON fields that hold times, the speed that follows from them, or in which sessions a run was made.
_TIMES = re.compile(
    r"seconds|date|_per_second|_timestamp|_nsecs|fps|updated|created|speed|time$|^time|^sessions$|^code$|revision"
)
_IN_TEXT = re.compile(  # times, dates and durations on pages
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d| UTC)?)?"
    r"|\d[\d.,]* (?:minutes|s\b|seconds|of them training)|[\d.,]+ (?:frames|clips)(?:/s| a second| per second)"
)
_SESSIONS = re.compile(r"## Made with.*", re.DOTALL)  # of a model card: each start of the command is one
_THUMBNAIL, _LEVELS = (24, 18), 2  # pixels; grey levels by which a frame may differ on average
_IGNORED = {"tensorboard"}  # event files with times in each record


def contents(folder: Path) -> dict[str, str]:
    """File or folder -> a digest of its content without times. The arrays of a checkpoint are one entry each."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if _IGNORED & set(relative.parts) or any((p / "manifest.ocdbt").exists() for p in _above(path, folder)):
            continue
        if path.is_dir() and (path / "manifest.ocdbt").exists():
            found |= {f"{relative}/{key}": digest for key, digest in _arrays(path).items()}
        if path.is_dir():
            found[f"{relative}/"] = "folder"
        else:
            found[str(relative)] = _digest(path)
    return found


def _above(path, folder):
    while (path := path.parent) != folder.parent:
        yield path


def _arrays(path):
    """The chunks of all arrays of an item of a checkpoint, byte for byte."""
    import tensorstore as ts

    store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{path.absolute()}/"}).result()
    return {key.decode(): _hash(store.read(key).result().value) for key in store.list().result()}


def _digest(path):
    if path.name == checksums.FILE:  # of files whose names are drawn by chance
        return checksums.damage(path.parent) or "right"
    if path.name == "commit_success.txt":  # Orbax writes the time
        return "there"
    if path.name in ("_CHECKPOINT_METADATA", "_METADATA", "_sharding") or path.suffix == ".json":
        return _hash(json.dumps(_without_times(_json(path.read_text())), sort_keys=True).encode())
    if path.suffix == ".jsonl":
        rows = [_without_times(_json(line)) for line in path.read_text().splitlines()]
        return _hash(json.dumps(rows, sort_keys=True).encode())
    if path.name.endswith("_time.txt"):
        return f"{len(path.read_text().splitlines())} lines"
    if path.suffix in (".html", ".md", ".tex"):
        return _hash(_SESSIONS.sub("", _IN_TEXT.sub("TIME", path.read_text())).encode())
    if path.suffix == ".mp4":
        return film(path)
    return _hash(path.read_bytes())


def film(path: Path) -> str:
    """The times of a film's frames, and each made small: x264 may encode the same frames into other bytes."""
    import av
    import cv2

    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    small = [cv2.resize(frame.to_ndarray(format="rgb24"), _THUMBNAIL, interpolation=cv2.INTER_AREA) for frame in frames]
    return f"film {[frame.time for frame in frames]} {np.array(small).tobytes().hex()}"


def _is_same(expected: str, found: str) -> bool:
    if not (expected.startswith("film ") and found.startswith("film ")):
        return expected == found
    *first, pictures = expected.rsplit(" ", 1)
    *second, others = found.rsplit(" ", 1)
    if first != second:
        return False
    levels = [np.frombuffer(bytes.fromhex(k), np.uint8).astype(int) for k in (pictures, others)]
    of_frames = np.abs(levels[0] - levels[1]).reshape(-1, 3 * _THUMBNAIL[0] * _THUMBNAIL[1]).mean(1)
    return bool(of_frames.max(initial=0) <= _LEVELS)


def _json(text):
    try:
        return json.loads(text)
    except ValueError:
        return {"no JSON": text}


def _without_times(value):
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if not _TIMES.search(name)}
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    return _IN_TEXT.sub("TIME", value) if isinstance(value, str) else value


def _hash(data):
    return hashlib.sha256(data).hexdigest()[:16]


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What differs, a line each."""
    lines = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{name} is left over" for name in sorted(found.keys() - expected.keys())]
    return lines + [
        f"{name} differs" for name in sorted(expected) if not _is_same(expected[name], found.get(name, expected[name]))
    ]
