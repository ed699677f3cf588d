"""The example: a short clip of camera footage in the package, and the box of its target."""

from pathlib import Path

CLIP = Path(__file__).parent / "example_clip" / "walk.mp4"  # its source and licence are in the README beside it
BOX = (495.0, 195.0, 50.0, 147.0)


def example() -> tuple[Path, tuple[float, float, float, float]]:
    """A clip to try things with: 133 frames of 640 x 360 pixels, in which a woman walks across the picture.

        path, box = relo_jax.example()
        relo_jax.render(path, box)

    Returns:
      the video file, and x, y, w, h of the target in its first frame, in pixels.
    """
    return CLIP, BOX
