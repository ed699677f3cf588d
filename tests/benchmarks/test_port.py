"""The straightforward port that benchmarks compare with the tracker computes the same boxes."""

import numpy as np

from benchmarks.port import Port
from relo_jax.checkpoints.pytorch import convert
from relo_jax.model import RELO
from relo_jax.profiling.flops import matmul_flops
from relo_jax.profiling.frame import frame_flops
from relo_jax.tracking import tracker
from tests.golden import FIELDS as GOLDEN_FIELDS


def test_it_gives_the_trackers_boxes(fixtures, natural_image):
    model = RELO.from_variant("tiny", **GOLDEN_FIELDS)
    variables = convert.from_torch(fixtures / "relo_tiny.pth.tar", model)
    frames = [np.roll(natural_image, (2 * t, 5 * t), (0, 1)) for t in range(5)]
    ours, port = tracker.Tracker(model, variables, {"window_power": 1.0}), Port(model, variables)
    for tested in (ours, port):
        tested.init(frames[0], (100, 80, 40, 30))
    for frame in frames[1:]:
        np.testing.assert_allclose(port.update(frame), ours.update(frame).box, rtol=0, atol=1e-3)
    # The port encodes the templates again in each frame, and computes more besides.
    templates = matmul_flops(lambda v: model.apply(v, *port._template, method="encode_templates"), variables)
    assert port.flops() - frame_flops(ours)["matmul"] > templates > 0
