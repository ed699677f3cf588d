"""What an installation costs, and how long a user waits for the first box.

    python -m benchmarks.install --wheel build/dist/relo_jax-0.1.0-py3-none-any.whl      # of `make test-wheel`

pip installs the wheel into new environments of this Python, alone and with the extra `all`. In the first of them, with
no compiled program on disk, Python imports relo_jax and tracks the example up to its first new box, and then
`relo track --example --heatmap --save` films it. Processor time counts, which other programs do not lengthen much.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common

FIRST_BOX = (
    "import relo_jax; video, box = relo_jax.example(); results = relo_jax.track(video, box=box); "
    "next(results); next(results)"
)
COMMAND = ["track", "--example", "--heatmap", "--save", "track.mp4", "--no-show"]


def megabytes(folder: Path) -> int:
    """What a folder takes on disk."""
    return round(sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6)


def pip(program: Path | str, *arguments: str | Path) -> None:
    """Runs pip quietly. Raises CalledProcessError."""
    subprocess.run([program, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def seconds(command: list[str | Path], folder: Path) -> dict[str, float]:
    """Processor and wall time of a command that finds nothing compiled: its home is a new folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "XDG_"))}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as home:
        subprocess.run(command, cwd=folder, env=environment | {"HOME": home}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"processor_seconds": round(processor, 1), "seconds": round(time.perf_counter() - began, 1)}


def measure(wheel: Path, folder: Path) -> dict:
    """The row of one wheel; `folder` is for the environments."""
    row: dict = {"wheel_mb": round(wheel.stat().st_size / 1e6, 1)}
    for name, what in (("track", f"{wheel}"), ("all", f"{wheel}[all]")):
        download, environment = folder / f"{name}-download", folder / name
        pip(sys.executable, "wheel", "--wheel-dir", download, what)  # some packages come as sources
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip(environment / "bin" / "python", "install", "--no-index", "--find-links", download, what)
        row[name] = {"download_mb": megabytes(download), "disk_mb": megabytes(environment)}
    programs = folder / "track" / "bin"
    row["first_box"] = seconds([programs / "python", "-c", FIRST_BOX], folder)
    row["example"] = seconds([programs / "relo", *COMMAND], folder)
    return row


def main() -> None:
    """Measures and records."""
    wheel = Path(common.arguments(__doc__, wheel="relo_jax.whl").wheel)
    with tempfile.TemporaryDirectory() as scratch:
        common.record("install", measure(wheel.resolve(), Path(scratch)))


if __name__ == "__main__":
    main()
