"""Clips by index, from one dataset or a weighted mixture: what the Grain pipeline reads.

Clip i is a function of (seed, i): dataset, sequence, frames and variations come from one generator. A clip that fails
(a frame that is missing or does not decode) is replaced by the next attempt at the same index, which is just as
deterministic, and the clip says so: how many failed, in which dataset, why, and at which file.
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

SEQUENCE_TRIES = 100  # of datasets that do not know beforehand which of their sequences are long enough
CLIP_TRIES = 20
NOTE_BYTES = 512  # of a clip's account of what failed in its place


class Sequences(Protocol):
    """What clips are drawn from. each_once: clip i uses sequence i; otherwise a clip draws one at random.

    One that knows its sequences beforehand also has `lengths`, `visible_counts` and `stills`, arrays [sequences].
    """

    each_once: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sequence: ...


@dataclass(frozen=True)
class MixturePart:
    """A dataset of a mixture: its name, its sequences and its weight, relative to those of the others."""

    name: str
    sequences: Sequences
    weight: float = 1.0


class ClipSource:
    """An indexable of clips without a batch axis: dicts of numpy arrays as the training step takes them.

    template_images uint8 [K, s, s, 3], template_boxes_xywh float32 [K, 4], search_images uint8 [T, S, S, 3],
    search_boxes_xywh float32 [T, 4] (normalised to their crops), or what closed-loop rollouts need instead of the last
    two (`relo_jax.mdp.rollout.ClosedLoopBatch`). For the account of what was read: index int64,
    dataset int32 (of `parts`), failed int32 and note uint8 [512], see `read_note`.

    Raises:
      UserError: nothing to draw from; a dataset with no sequence that is long enough.
    """

    def __init__(self, parts: list[MixturePart], options: ClipOptions, seed: int, length: int = 2**31 - 1):
        self.parts, self.options, self.seed, self._length = parts, options, seed, length
        self._count = options.frames + options.templates
        empty = [p.name for p in parts if not len(p.sequences)]
        if empty or not parts:
            raise UserError(f"no sequences to draw clips from{': ' if empty else ''}{', '.join(empty)}")
        weights = np.array([p.weight for p in parts], float)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise UserError(f"config.data.weights={weights.tolist()}: give numbers from 0, one a dataset, not all 0")
        self._cumulative = np.cumsum(weights / weights.sum())
        self._eligible = [self._known_to_be_eligible(p) for p in parts]

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
            account = {"index": np.int64(index), "dataset": np.int32(number), "failed": np.int32(len(failures))}
            return {**clip, **account, "note": write_note(failures)}
        dataset, reason, where = failures[-1]
        raise UserError(f"clip {index}: {CLIP_TRIES} tries failed, the last by {reason} in {dataset}: {where}")

    def draw(self, rng: np.random.Generator, sequence: Sequence) -> dict[str, np.ndarray]:
        """A clip of the sequence; raises FrameError."""
        plan = plan_clip(rng, sequence, self.options)
        return read.draw(sequence, plan, reduced=self.options.reduced_decode)

    def describe(self, index: int) -> str:
        """The name of the sequence that clip `index` is drawn from, with its dataset's where there are several."""
        number, sequence = self.pick(clip_rng(self.seed, int(index)), int(index))
        return f"{self.parts[number].name}/{sequence.name}" if len(self.parts) > 1 else sequence.name

    def fingerprint(self) -> str:
        """A digest of what clips are drawn from, wherever it lies: the same clips need the same one."""
        state = hashlib.blake2b(f"{self.seed} {self.options}".encode(), digest_size=8)
        for part, share in zip(self.parts, self._cumulative, strict=True):
            sequences = part.sequences
            state.update(f"{part.name} {share:.12f} {len(sequences)}".encode())
            for name in ("lengths", "visible_counts", "stills"):
                state.update(np.ascontiguousarray(getattr(sequences, name, ())).tobytes())
            state.update(getattr(sequences, "files_digest", "").encode())
        return state.hexdigest()

    def report(self) -> list[str]:
        """A line for each dataset that knows its sequences: how many, what was left out, and what is too short."""
        lines = []
        for part, known in zip(self.parts, self._eligible, strict=True):
            if known is not None:
                count = len(part.sequences)
                summary = part.sequences.summary() if hasattr(part.sequences, "summary") else f"{count:,} sequences"
                rest = f"; {count - len(known):,} too short or too rarely visible for these clips"
                lines.append(f"{part.name}: {summary}{rest if count > len(known) else ''}")
        return lines

    def pick(self, rng: np.random.Generator, index: int) -> tuple[int, Sequence]:
        """Number of the dataset and an eligible sequence: the clip's own, or drawn at random. May raise FrameError."""
        number = self._dataset(rng)
        return number, self._sequence(rng, number, index)

    def _dataset(self, rng: np.random.Generator) -> int:
        if len(self.parts) == 1:
            return 0
        return min(int(np.searchsorted(self._cumulative, rng.random(), "right")), len(self.parts) - 1)

    def _sequence(self, rng: np.random.Generator, number: int, index: int | None) -> Sequence:
        """index: of the clip; None where its own sequence has failed, and any other will do."""
        sequences, known = self.parts[number].sequences, self._eligible[number]
        if known is not None:
            return sequences[int(known[rng.integers(len(known))])]
        count = len(sequences)
        own = index is not None and sequences.each_once
        chosen = index % count if own else int(rng.integers(count))
        for _ in range(SEQUENCE_TRIES):
            sequence = sequences[chosen]
            visible = np.count_nonzero(sequence.visible)
            if eligible(len(sequence), visible, sequence.still, self._count):
                return sequence
            chosen = int(rng.integers(count))
        raise self._too_short(self.parts[number].name, f"{SEQUENCE_TRIES} drawn sequences", sequence.name)

    def _known_to_be_eligible(self, part: MixturePart) -> np.ndarray | None:
        """Numbers of the sequences to draw from; None where the dataset knows them only one by one."""
        sequences = part.sequences
        if not hasattr(sequences, "visible_counts"):
            return None
        known = np.flatnonzero(eligible(sequences.lengths, sequences.visible_counts, sequences.stills, self._count))
        if not len(known):
            raise self._too_short(part.name, f"all {len(sequences)} sequences", sequences[0].name)
        return known

    def _too_short(self, dataset: str, which: str, example: str) -> UserError:
        return UserError(
            f"{dataset}: {which} have not 20 frames with more than {2 * self._count} visible boxes (such as {example}"
            "): use longer sequences or shorter clips"
        )


def write_note(failures: list[tuple[str, str, str]]) -> np.ndarray:
    """(dataset, reason, file) of each failure as uint8 [512], for a batch can only carry arrays; cut when too long.

    A file's name loses its beginning first, as its end says more.
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
    """(dataset, reason, file) of each failure that a clip's note tells of."""
    text = bytes(note[note != 0]).decode(errors="replace")
    lines = [tuple(line.split("\t")) for line in text.split("\n")] if text else []
    return [line if len(line) == 3 else (line[0], "unknown", "") for line in lines]


def most_failures(clips: int) -> int:
    """How many clips of so many may fail: 1 %, and ten in the first thousand."""
    return max(clips, 1000) // 100
