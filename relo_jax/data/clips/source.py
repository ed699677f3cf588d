"""Clips by index, from one dataset or a weighted mixture: the source of the Grain pipeline.

Clip i is a function of (seed, i): one generator draws its dataset, sequence, frames and augmentation. A clip that fails
(a frame is missing or does not decode) is replaced by the next attempt at the same index, which is deterministic, too.
The clip then records how many attempts failed, in which dataset, for what reason and at which file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from relo_jax.config.data_options import ClipOptions
from relo_jax.data.clips import read
from relo_jax.data.clips.plan import clip_rng, eligible, plan_clip
from relo_jax.data.sequence import Sequence
from relo_jax.errors import UserError
from relo_jax.media.images import FrameError

SEQUENCE_TRIES = 100  # for datasets that cannot tell in advance which of their sequences are long enough
CLIP_TRIES = 20
NOTE_BYTES = 512  # of a clip's note about failures in its place
KNOWN_ARRAYS = ("lengths", "visible_counts", "stills")  # of a dataset that knows its sequences in advance


class Sequences(Protocol):
    """Sequences to draw clips from.

    A dataset that knows its sequences in advance also has `lengths`, `visible_counts` and `stills`, arrays [sequences].

    Attributes:
      each_once: clip i uses sequence i; otherwise each clip draws a sequence at random.
    """

    each_once: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sequence: ...


@dataclass(frozen=True)
class MixturePart:
    """A dataset of a mixture: its name, its sequences, and its weight relative to the other datasets."""

    name: str
    sequences: Sequences
    weight: float = 1.0


class ClipSource:
    """Clips by index, as dicts of numpy arrays without a batch axis.

    Fields for the training step: template_images uint8 [K, s, s, 3], template_boxes_xywh float32 [K, 4], search_images
    uint8 [T, S, S, 3] and search_boxes_xywh float32 [T, 4], with boxes normalised to their crops; for closed-loop
    rollouts, the fields of `relo_jax.mdp.rollout.ClosedLoopBatch` replace the last two. Fields for the log: index
    int64, dataset int32 (index into `parts`), failed int32 (number of failures) and note uint8 [512] (see `read_note`).

    Raises:
      UserError: there are no sequences, the weights are invalid, or no sequence of a dataset is long enough.
    """

    def __init__(self, parts: list[MixturePart], options: ClipOptions, seed: int, length: int = 2**31 - 1):
        self.parts, self.options, self.seed, self._length = parts, options, seed, length
        self._count = options.frames + options.templates
        empty = [p.name for p in parts if not len(p.sequences)]
        if empty or not parts:
            raise UserError(f"no sequences to draw clips from{': ' if empty else ''}{', '.join(empty)}")
        weights = np.array([p.weight for p in parts], float)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise UserError(
                f"config.data.weights={weights.tolist()}: give one number of at least 0 for each dataset, not all 0"
            )
        self._cumulative = np.cumsum(weights / weights.sum())
        self._eligible = [self._find_eligible(p) for p in parts]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        index, failures = int(index), []
        for attempt in range(CLIP_TRIES):
            rng = clip_rng(self.seed, index, attempt)
            number = self._dataset(rng)
            try:
                clip = self.draw(rng, self._sequence(rng, number, None if attempt else index))
            except FrameError as error:
                failures.append((self.parts[number].name, error.reason, error.where))
                continue
            log = {"index": np.int64(index), "dataset": np.int32(number), "failed": np.int32(len(failures))}
            return {**clip, **log, "note": write_note(failures)}  # type: ignore[dict-item]  # scalars batch to [B]
        dataset, reason, where = failures[-1]
        raise UserError(f"clip {index}: {CLIP_TRIES} attempts failed, the last by {reason} in {dataset}: {where}")

    def draw(self, rng: np.random.Generator, sequence: Sequence) -> dict[str, np.ndarray]:
        """Draws and reads a clip of the sequence. Raises FrameError."""
        plan = plan_clip(rng, sequence, self.options)
        return read.read_clip(sequence, plan, reduced=self.options.reduced_decode)

    def describe(self, index: int) -> str:
        """The name of the sequence of clip `index`; with the name of its dataset if there are several."""
        number, sequence = self.pick(clip_rng(self.seed, int(index)), int(index))
        return f"{self.parts[number].name}/{sequence.name}" if len(self.parts) > 1 else sequence.name

    def fingerprint(self) -> str:
        """A digest of everything that determines the clips, except the location of the files."""
        state = hashlib.blake2b(f"{self.seed} {self.options}".encode(), digest_size=8)
        for part, share in zip(self.parts, self._cumulative, strict=True):
            sequences = part.sequences
            state.update(f"{part.name} {share:.12f} {len(sequences)}".encode())
            for name in KNOWN_ARRAYS:
                state.update(np.ascontiguousarray(getattr(sequences, name, ())).tobytes())
            state.update(getattr(sequences, "files_digest", "").encode())
        return state.hexdigest()

    def report(self) -> list[str]:
        """A line for each dataset that knows its sequences: their number, and how many are left out or too short."""
        lines = []
        for part, known in zip(self.parts, self._eligible, strict=True):
            if known is not None:
                count = len(part.sequences)
                summary = part.sequences.summary() if hasattr(part.sequences, "summary") else f"{count:,} sequences"
                rest = f"; {count - len(known):,} too short or too rarely visible for these clips"
                lines.append(f"{part.name}: {summary}{rest if count > len(known) else ''}")
        return lines

    def pick(self, rng: np.random.Generator, index: int) -> tuple[int, Sequence]:
        """Draws the dataset (an index into `parts`) and the sequence of clip `index`. May raise FrameError."""
        number = self._dataset(rng)
        return number, self._sequence(rng, number, index)

    def _dataset(self, rng: np.random.Generator) -> int:
        if len(self.parts) == 1:
            return 0
        return min(int(np.searchsorted(self._cumulative, rng.random(), "right")), len(self.parts) - 1)

    def _sequence(self, rng: np.random.Generator, number: int, index: int | None) -> Sequence:
        """An eligible sequence: that of clip `index` if the dataset uses each once, else (or for None) a random one."""
        sequences, known = self.parts[number].sequences, self._eligible[number]
        if known is not None:
            return sequences[int(known[rng.integers(len(known))])]
        count = len(sequences)
        chosen = index % count if index is not None and sequences.each_once else int(rng.integers(count))
        for _ in range(SEQUENCE_TRIES):
            sequence = sequences[chosen]
            visible = int(np.count_nonzero(sequence.visible))
            if eligible(len(sequence), visible, sequence.still, self._count):
                return sequence
            chosen = int(rng.integers(count))
        raise self._too_short(self.parts[number].name, f"{SEQUENCE_TRIES} drawn sequences", sequence.name)

    def _find_eligible(self, part: MixturePart) -> np.ndarray | None:
        """Indices of the eligible sequences; None if the dataset does not know its sequences in advance."""
        sequences = part.sequences
        if not hasattr(sequences, "visible_counts"):
            return None
        lengths, visible, stills = (getattr(sequences, name) for name in KNOWN_ARRAYS)
        known = np.flatnonzero(eligible(lengths, visible, stills, self._count))
        if not len(known):
            raise self._too_short(part.name, f"all {len(sequences)} sequences", sequences[0].name)
        return known

    def _too_short(self, dataset: str, which: str, example: str) -> UserError:
        return UserError(
            f"{dataset}: {which} have fewer than 20 frames or at most {2 * self._count} visible boxes, such as "
            f"{example}: use longer sequences or shorter clips"
        )


def write_note(failures: list[tuple[str, str, str]]) -> np.ndarray:
    """Encodes (dataset, reason, file) of each failure as uint8 [512], since batches carry only arrays.

    If the text is too long, the beginnings of the file names are cut off first: their ends say more.
    """
    room = NOTE_BYTES // max(len(failures), 1) - 1
    lines = []
    for dataset, reason, where in failures:
        start = f"{dataset}\t{reason}\t"
        lines.append(start + where[-max(room - len(start), 1) :])
    text = "\n".join(lines).encode(errors="replace")[:NOTE_BYTES]
    note = np.zeros(NOTE_BYTES, np.uint8)
    note[: len(text)] = np.frombuffer(text, np.uint8)
    return note


def read_note(note: np.ndarray) -> list[tuple[str, str, str]]:
    """Decodes a clip's note: (dataset, reason, file) of each failure, as far as there was room."""
    text = bytes(note[note != 0]).decode(errors="replace")
    lines = [tuple(line.split("\t")) for line in text.split("\n")] if text else []
    return [line if len(line) == 3 else (line[0], "unknown", "") for line in lines]


def max_failures(clips: int) -> int:
    """How many of so many clips may fail: 1 %, and ten of the first thousand."""
    return max(clips, 1000) // 100
