"""The procedural sequences that evaluate the demo and the studies, with seeds and textures that no training uses."""

from typing import Any

from relo_jax.config.data_options import Options
from relo_jax.data.sequence import Sequence
from relo_jax.data.synthetic.procedural import heldout

SEQUENCES, FRAMES = 20, 120
SEED = 2026


def held_out_sequences(sequences: int = SEQUENCES, frames: int = FRAMES, **options: Any) -> list[Sequence]:
    """The same sequences every time, of the given number and length; `options` are further fields of `Options`."""
    return heldout(SEED, sequences, Options(num_frames=frames, **options))
