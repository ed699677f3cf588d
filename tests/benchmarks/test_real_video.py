"""The checkpoint beside OpenCV's trackers: its boxes are measured with fractions and as whole numbers."""

import numpy as np

from benchmarks import real_video
from relo_jax.data.sequence import Sequence
from relo_jax.eval import metrics

TRUTH = np.linspace([4.0, 4.0, 12.0, 9.0], [9.0, 6.5, 12.0, 9.0], 8)


class Exact(real_video.Ours):
    """Knows the truth."""

    def __init__(self):
        self.results_by_sequence = {}

    def init(self, frame, box_xywh):
        self.results = []

    def update(self, frame):
        self.results.append(TRUTH[len(self.results) + 1])
        return self.results[-1]


def test_the_checkpoint_has_a_column_of_whole_numbers_beside_that_of_its_fractions():
    frame = np.zeros((20, 30, 3), np.uint8)
    sequence = Sequence("one", TRUTH, np.ones(8, bool), lambda index: frame)
    curves, seconds = real_video.measure({"ours": Exact()}, [sequence])
    assert list(curves) == ["ours", "whole_numbers", "never moves"] and list(seconds) == ["ours"]
    assert curves["whole_numbers"]["one"].auc == metrics.measure(np.trunc(TRUTH), TRUTH).auc
    assert curves["ours"]["one"].auc > 0.94 > curves["whole_numbers"]["one"].auc
    means = {name: of["one"].auc for name, of in curves.items()}
    head, row, mean, rates = (line.split() for line in real_video.table(curves, means, seconds).splitlines())
    assert head == ["ours", "whole_numbers", "never", "moves"] and row[1:] == mean[1:] and rates[2:] == ["-", "-"]
