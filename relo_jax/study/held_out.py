"""The procedural sequences that the demo and the studies are evaluated on: seeds and textures that no training has."""

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.procedural import heldout

SEQUENCES, FRAMES = 20, 120
SEED = 2026


def held_out_sequences(sequences=SEQUENCES, frames=FRAMES):
    """The same sequences every time; or another number of them, or of their frames."""
    return heldout(SEED, sequences, Options(num_frames=frames))
