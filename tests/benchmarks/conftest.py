"""Sequences for benchmarks."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def excerpts(tmp_path, natural_image):
    """A folder with one sequence of five frames."""
    folder = tmp_path / "excerpts" / "walk"
    folder.mkdir(parents=True)
    for number in range(5):
        frame = np.roll(natural_image, (2 * number, 3 * number), (0, 1))
        assert cv2.imwrite(str(folder / f"{number:04d}.png"), frame[..., ::-1])
    (folder / "groundtruth.txt").write_text("".join(f"{60 + 3 * n},{50 + 2 * n},40,30\n" for n in range(5)))
    return folder.parent
