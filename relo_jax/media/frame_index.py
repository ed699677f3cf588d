"""The times of all frames of a video file, and which are key frames, found without decoding."""

from __future__ import annotations

import bisect
import contextlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from relo_jax.media.decode import (
    Lost,
    decode_pictures,
    has_hidden_packets,
    is_timed,
    open_container,
    packets,
    picture_stream,
)


@dataclass(frozen=True)
class Index:
    """Where the frames of a file are. pts: of all, in order. keys: numbers of the key frames. tick: seconds a unit."""

    pts: array
    keys: list[int]
    tick: Fraction


def scan(path: Path, name: str) -> Index | None:
    """Where the frames of a file are; None if they have no reliable times."""
    with open_container(path, name) as container:
        stream = picture_stream(container)
        tick = stream.time_base
        if not is_timed(container) or not tick:
            return None
        times, keys = array("q"), []
        last_decoded = None
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):  # beyond it, nothing can be read
            for pts, dts, is_key in _decoded(container) if has_hidden_packets(stream) else _listed(container, stream):
                if pts is None or (dts is not None and last_decoded is not None and dts < last_decoded):
                    return None  # time runs backwards: two recordings in one file
                last_decoded = dts
                times.append(pts)
                if is_key:
                    keys.append(pts)
    if not times or not keys or len(set(times)) < len(times):
        return None
    ordered = array("q", sorted(pts for pts in times if pts >= keys[0]))  # many begin between two key frames
    return Index(ordered, [bisect.bisect_left(ordered, key) for key in sorted(keys)], tick)


def _listed(container: Any, stream: Any) -> Iterator[tuple[int | None, int | None, bool]]:
    for packet in packets(container, stream):
        if packet is not None and not packet.is_discard:
            yield packet.pts, packet.dts, packet.is_keyframe


def _decoded(container: Any) -> Iterator[tuple[int | None, int | None, bool]]:
    picture_stream(container).thread_type = "AUTO"
    for picture in decode_pictures(container):
        yield picture.pts, None, not isinstance(picture, Lost) and bool(picture.key_frame)
