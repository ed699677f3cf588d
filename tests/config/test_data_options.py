"""Options of clips and of procedural sequences: the data of a run that names none of them stay as they were."""

import dataclasses

from relo_jax.config.data_options import CLIP_FIELDS, COCO_SMALLEST_SIDE, PROCEDURAL_FIELDS, ClipOptions


def test_the_repr_in_the_digest_of_a_run_s_data_does_not_change():
    """Another order, name or default of a field would tell every run in progress that its data changed."""
    assert repr(ClipOptions()) == (
        "ClipOptions(templates=2, frames=2, template_size=128, search_size=256, max_gap=400, scale_jitter=0.5, "
        "shift_jitter=3.5, grey=0.05, flip=0.5, frame_flip=0.5, brightness=0.2, reduced_decode=True)"
    )
    assert repr(dataclasses.replace(ClipOptions(), closed_loop=True)) == repr(ClipOptions())
    assert not ClipOptions().closed_loop


def test_the_defaults_of_the_config_are_those_of_the_release_and_of_the_starters_data():
    """What follows from model and stage is no field of `config.data`."""
    assert CLIP_FIELDS == dict(
        max_gap=400, scale_jitter=0.5, shift_jitter=3.5, grey=0.05, flip=0.5, frame_flip=0.5, brightness=0.2,
        reduced_decode=True,
    )  # fmt: skip
    assert PROCEDURAL_FIELDS == dict(
        width=448, height=336, num_frames=120, distractors=3, clutter=6, occlusion=0.5, smallest=20, largest=64,
        elongation=0, slowest=0.03, fastest=0.22, jump=0.03, bending=6, shadow=0.3, switch=0, sensor_noise=0.15,
        blur=1.5, grade=0.5, compression=0.15, bank_size=256, exposure=0, pixel=0, absence=0, limbs=2, articulated=0.35,
        turning=0, lighting=0, night=0, spray=0,
    )  # fmt: skip
    assert COCO_SMALLEST_SIDE == 50
