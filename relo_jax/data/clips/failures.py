"""Counts the clips that were read, and those that were replaced because a frame could not be read.

Every clip carries a note of the failures in its place, so the training process counts them from the batches; threads
and worker processes share no counters. Up to one clip in a hundred may fail; beyond that, training stops and lists the
failures.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from relo_jax.data.clips.source import max_failures, read_note
from relo_jax.errors import UserError

EXAMPLES = 5  # files named for each dataset and reason


class ReadFailures:
    """Counts clips and failures until the next `report`.

    Args:
      names: of the datasets; a clip's `dataset` is an index into them.
    """

    def __init__(self, names: list[str]):
        self._names = names
        self._clear()

    def _clear(self) -> None:
        self.clips: Counter[str] = Counter()  # by dataset
        self.failed: Counter[tuple[str, str]] = Counter()  # by dataset and reason
        self._examples: dict[tuple[str, str], list[str]] = {}

    def add(self, dataset: np.ndarray, failed: np.ndarray, note: np.ndarray) -> None:
        """Counts a batch of clips by their fields `dataset` [B], `failed` [B] and `note` [B, 512].

        Raises:
          UserError: more than 1 % of the clips since the last report failed; lists the failures.
        """
        self.clips.update(self._names[k] for k in dataset.tolist())
        for row in np.flatnonzero(failed):
            noted = read_note(note[row])
            for name, reason, where in noted:
                self.failed[name, reason] += 1
                examples = self._examples.setdefault((name, reason), [])
                if len(examples) <= EXAMPLES and where not in examples:
                    examples.append(where)
            # A note has no room for dozens of failures, but `failed` counts them all.
            if len(noted) < failed[row]:
                self.failed[self._names[dataset[row]], "not noted"] += int(failed[row]) - len(noted)
        if self.failed.total() > max_failures(self.clips.total()):
            share = self.failed.total() / (self.clips.total() + self.failed.total())
            raise UserError(f"{share:.1%} of the clips could not be read, more than 1 %: {self._failures()}")

    def report(self, title: str) -> str:
        """Returns one line about the clips since the last report, and starts to count anew."""
        clips = ", ".join(f"{name} {self.clips[name]:,}" for name in self._names if self.clips[name])
        replaced = f"; {self.failed.total():,} replaced: {self._failures()}" if self.failed else ", none replaced"
        line = f"{title}: {self.clips.total():,} clips ({clips}){replaced}"
        self._clear()
        return line

    def _failures(self) -> str:
        parts = []
        for (name, reason), count in self.failed.most_common():
            examples = self._examples.get((name, reason), [])
            more = ["..."] if len(examples) > EXAMPLES else []
            files = f" ({', '.join(examples[:EXAMPLES] + more)})" if examples else ""
            parts.append(f"{name}: {count:,} {reason}{files}")
        return "; ".join(parts)
