"""Spray, smoke and dust: what a cloud hides, views of it, and what the target meets."""

from dataclasses import replace

import numpy as np
import pytest

from relo_jax.config.data_options import Options
from relo_jax.data.synthetic.procedural import Procedural
from relo_jax.data.synthetic.spray import WAVES, Cloud, cover_of, random_clouds, veil

FRAMES = 40
STILL = np.repeat(np.eye(2, 3)[None], FRAMES, 0)


def cloud(opacity=1.0, color=(200.0, 210.0, 220.0), roughness=0.0, softness=0.1, maps=STILL, waves=None):
    waves = np.zeros((WAVES, 4)) if waves is None else waves
    return Cloud(maps, np.full(FRAMES, opacity), np.array(color), roughness, softness, waves)


def test_a_cloud_hides_its_opacity_of_what_is_behind_it_and_nothing_outside():
    inside, outside = np.array([[0.2, -0.3]]), np.array([[1.5, 0.2]])
    assert cover_of(cloud(0.7), inside, 3) == pytest.approx(0.7, abs=1e-3)
    assert cover_of(cloud(0.7), outside, 3) == pytest.approx(0, abs=1e-3)
    assert 0.1 < cover_of(cloud(softness=4.0), outside, 3)[0] < 0.5


def test_its_edge_is_rough_and_moves():
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 400)
    edge = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert np.ptp(cover_of(cloud(), edge, 0)) < 1e-6
    waves = np.concatenate([rng.normal(0, 5, (WAVES, 2)), rng.uniform(0, 6, (WAVES, 1)), np.ones((WAVES, 1))], 1)
    rough = cloud(roughness=0.5, waves=waves)
    now, later = (cover_of(rough, edge, k) for k in (0, 1))
    assert now.std() > 0.3 and np.abs(now - later).mean() > 0.1


def test_the_front_cloud_hides_the_one_behind():
    behind, front = cloud(1.0, (10.0, 10.0, 10.0)), cloud(0.5, (100.0, 0.0, 50.0))
    made = veil((behind, front), np.zeros((1, 2)), 0)[0]
    assert made == pytest.approx([0, 55, 5, 30], abs=0.1)


def test_the_target_meets_the_clouds_that_are_drawn_for_it_and_leaves_them():
    center = np.stack([np.linspace(20, 300, FRAMES), np.full(FRAMES, 100.0)], 1)
    hidden = []
    for seed in range(80):
        clouds = random_clouds(np.random.default_rng(seed), STILL, center, np.full(FRAMES, 30.0))
        hidden.append([1 - veil(clouds, center[k : k + 1], k)[0, 0] for k in range(FRAMES)])
    most, least = np.max(hidden, 1), np.min(hidden, 1)
    assert np.mean(most > 0.25) > 0.6 and most.max() > 0.9
    assert np.mean(least < 0.1) > 0.8


def test_spray_changes_pictures_and_no_box_and_is_off_by_default():
    options = Options(num_frames=FRAMES, bank_size=24)
    plain, sprayed = Procedural(5, "train", options), Procedural(5, "train", replace(options, spray=1.0))
    changes = []
    for index in range(6):
        before, after = plain[index], sprayed[index]
        assert np.array_equal(before.boxes_xywh, after.boxes_xywh)
        frames = [np.stack([k.read_frame(n).astype(float) for n in (5, 20, 35)]) for k in (before, after)]
        changes.append(np.abs(frames[1] - frames[0]).mean())
    assert np.median(changes) > 0.2
    assert plain.scene(0).clouds == () and 1 <= len(sprayed.scene(0).clouds) <= 2
