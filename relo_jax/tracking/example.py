"""The examples: short clips of camera footage in the package, and the boxes of their targets."""

from pathlib import Path

from relo_jax.errors import UserError, did_you_mean

FOLDER = Path(__file__).parent / "example_clip"  # the sources and licences are in the README there
BOXES = {"cup": (230.0, 93.0, 80.0, 194.0), "walk": (495.0, 195.0, 50.0, 147.0)}


def example(name: str = "cup") -> tuple[Path, tuple[float, float, float, float]]:
    """A clip to try things with.

        path, box = relo_jax.example()
        relo_jax.render(path, box)

    Args:
      name: "cup", a bottle that is moved and tilted, which is easy; or "walk", a woman who walks against the sun, which
        is hard.

    Returns:
      the video file, and x, y, w, h of the target in its first frame, in pixels.

    Raises:
      UserError: no example has that name.
    """
    if name not in BOXES:
        raise UserError(f"there is no example {name!r}{did_you_mean(name, BOXES)}: there are {', '.join(BOXES)}")
    return FOLDER / f"{name}.mp4", BOXES[name]
