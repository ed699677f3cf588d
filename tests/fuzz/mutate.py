"""Inputs near given ones: flipped bits, cut, doubled and exchanged parts, numbers at the edge of their types."""

from collections.abc import Iterator

import numpy as np

_NUMBERS = [0, 1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
_WORDS = [
    b"nan", b"inf", b"-1", b"1e999", b"9" * 40, b"0_1", "\u0664".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"null", b"{}",
    b"[[[[", b'"', b",,", b";", b"../..", b"/etc/passwd", b"\n", b"\r", b"\x1b[31m", b"=cmd()", b"..", b"%s%n",
]  # fmt: skip


def mutations(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """The seeds, then `count` inputs near them; the same for the same `seed`."""
    yield from seeds
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = seeds[rng.integers(len(seeds))]
        for _ in range(rng.integers(1, 5)):
            data = _changed(data, seeds, rng)
        yield data


def _changed(data: bytes, seeds: list[bytes], rng: np.random.Generator) -> bytes:
    """One change at a random place."""
    start = int(rng.integers(len(data) + 1))
    length = int(min(2 ** rng.integers(0, 9), len(data) - start))
    kind = rng.integers(8)
    if kind == 0 and data:
        place = min(start, len(data) - 1)
        return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    if kind == 1:
        return data[:start]
    if kind == 2:
        return data[:start] + data[start + length :]
    if kind == 3:
        return data[:start] + data[start : start + length] * int(rng.integers(2, 9)) + data[start + length :]
    if kind == 4:
        other = seeds[rng.integers(len(seeds))]
        place = int(rng.integers(len(other) + 1))
        return data[:start] + other[place : place + length] + data[start + length :]
    if kind == 5:
        size, order = int(2 ** rng.integers(0, 4)), ("little", "big")[rng.integers(2)]
        number = _NUMBERS[rng.integers(len(_NUMBERS))] % 256**size
        return data[:start] + number.to_bytes(size, order) + data[start + size :]
    if kind == 6:
        return data[:start] + _WORDS[rng.integers(len(_WORDS))] + data[start:]
    return data[:start] + rng.integers(0, 256, length, np.uint8).tobytes() + data[start + length :]
