"""Options of clips: what a training run's data digest is made of stays as it was."""

import dataclasses

from relo_jax.config.data_options import ClipOptions


def test_the_repr_in_the_digest_of_a_run_s_data_does_not_change():
    """Another order, name or default of a field would tell every run in progress that its data changed."""
    assert repr(ClipOptions()) == (
        "ClipOptions(templates=2, frames=2, template_size=128, search_size=256, max_gap=400, scale_jitter=0.5, "
        "shift_jitter=3.5, grey=0.05, flip=0.5, frame_flip=0.5, brightness=0.2, reduced_decode=True)"
    )
    assert repr(dataclasses.replace(ClipOptions(), closed_loop=True)) == repr(ClipOptions())
