"""Figures: a notebook shows one once, without pyplot."""

import cv2
import numpy as np

from relo_jax.media.figures import Figure, save


def test_a_notebook_shows_a_figure_without_pyplot(tmp_path):
    figure = Figure(figsize=(3, 2), dpi=100)
    figure.subplots().plot([1, 2])
    assert save(figure, [tmp_path / "a.png", tmp_path / "b.svg"]) is figure and (tmp_path / "b.svg").exists()
    png, size = figure._repr_png_()
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (200, 300)
    assert size == {"width": 150, "height": 100}
    assert figure.canvas.manager is None  # pyplot, which would show it again, does not know it
