"""Writes docs/performance.md and docs/edge.md from the rows in benchmarks/results/, the last of each kind.

    python -m benchmarks.tables            # writes both pages and a picture
    python -m benchmarks.tables --check    # status 1 if a page differs from the rows

Every figure in them comes from a row, with its machine and command.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import rows as results
from benchmarks import sections_edge
from benchmarks.sections import SECTIONS

DOCS = Path(__file__).parents[1] / "docs"
INTRODUCTION = """# Performance

`python -m benchmarks.tables` writes this page from [`benchmarks/results/`](../benchmarks/results). Each row there has
its machine, versions, command and date. Times are medians. The list below a table says where its rows come from.
Compare figures of two rows only if they come from the same run.

{machines}

The aims on a GPU are 800 (t256), 500 (b256) and 250 (l256) frames/s online; 45% of the rate of a large matrix product
in bfloat16, both in lockstep and in an update of the RL stage; and that update by the clip path in a third of the frame
path's time. Where a row comes from a GPU, the text above its table compares it with these aims.
"""


def machines() -> str:
    """The devices that the rows were measured on, in a sentence."""
    every = (row for path in sorted(results.RESULTS.glob("*.jsonl")) for row in results.rows(path.stem))
    found = [row for row in every if "machine" in row]  # others are no measurements of speed
    devices = sorted({results.place(row) for row in found} - {"CPU"})
    if devices:
        return f"Accelerator rows are from {', '.join(devices)}. All other rows are from CPUs."
    cores = sorted({row["machine"]["cores"] for row in found if isinstance(row["machine"], dict)})
    return f"No GPU or TPU has been measured yet. Every row is from a CPU with {' or '.join(map(str, cores))} cores."


def draw_memory(row: dict, path: Path) -> None:
    """Draws the curve of resident memory over clips."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "relo_jax"  # the same file for the same row
    figure, axes = plt.subplots(figsize=(6, 2.4), layout="constrained")
    step = row["memory_of_clips"] / len(row["mib_every_hundredth"])
    axes.plot([step * k for k in range(len(row["mib_every_hundredth"]))], row["mib_every_hundredth"])
    axes.set(xlabel="clips read", ylabel="resident, MiB", ylim=(0, 1.2 * row["mib_largest"]))
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def document() -> str:
    """The text of docs/performance.md."""
    return INTRODUCTION.format(machines=machines()) + "".join(make() for make in SECTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if the document is out of date")
    args = parser.parse_args()
    pages = {DOCS / "performance.md": document(), DOCS / "edge.md": sections_edge.page()}
    if args.check:
        sys.exit(int(any(not path.exists() or path.read_text() != text for path, text in pages.items())))
    for path, text in pages.items():
        path.write_text(text)
    for row in [r for r in results.rows("data_pipeline") if "memory_of_clips" in r][-1:]:
        draw_memory(row, DOCS / "performance_memory.svg")
    print(", ".join(f"docs/{path.name}" for path in pages), "written")


if __name__ == "__main__":
    main()
