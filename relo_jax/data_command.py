"""`relo data`: what the datasets on this machine are like, before a run finds out."""

from __future__ import annotations

from pathlib import Path

from relo_jax.data.datasets import check, folder, layouts, stats
from relo_jax.data.datasets.index import DEFAULT_CACHE, open_dataset
from relo_jax.data.datasets.layout import Source
from relo_jax.errors import UserError
from relo_jax.files import json_file


def source_of(name: str) -> Source:
    """A dataset by its name, or any folder of sequences. Raises UserError."""
    return folder.SOURCE if name == "folder" else layouts.source(name)


def check_command(
    name: str,
    root: Path | None = None,
    split: str | None = None,
    frames: str = "sample",
    json_path: Path | None = None,
    cache: Path = DEFAULT_CACHE,
) -> int:
    """Checks a dataset's splits, prints what is wrong by kind, and writes it to `json_path`.

    Returns:
      The exit status: 1 where anything is fatal.

    Raises:
      UserError: no such dataset, split or folder, or another layout than the official one.
    """
    source = source_of(name)
    with json_file(json_path) as write:
        found, absent = check.check(source, [split] if split else [], root, cache, frames)
        for findings in found:
            print(problem_table(findings))
        for other, why in absent.items():
            print(f"{source.title} {other}: not checked: {why}")
        write({"splits": [f.as_json() for f in found], "not_checked": absent})
    return int(any(findings.fatal(kind) for findings in found for kind in findings.kinds))


def problem_table(findings: check.Findings, examples: int = 3) -> str:
    """A split's size, and its problems by kind with the first of each."""
    dataset = findings.dataset
    lines = [
        f"{dataset.source.title} {dataset.split} in {dataset.root}: {len(dataset):,} sequences, "
        f"{int(dataset.lengths.sum()):,} frames, {findings.scanned:,} of them decoded"
    ]
    width = max(map(len, findings.kinds), default=0)
    for kind in findings.kinds:
        count, first = findings.counts[kind], findings.examples[kind][:examples]
        lines.append(f"  {'fatal' if findings.fatal(kind) else 'note ':<7}{kind:<{width}}{count:>9,}")
        lines += [f"           {problem}" for problem in first]
        lines += [f"           and {count - len(first):,} more"] if count > len(first) else []
    return "\n".join(lines if findings.kinds else [*lines, "  nothing is wrong"])


def stats_command(
    names: list[str], root: Path | None = None, json_path: Path | None = None, cache: Path = DEFAULT_CACHE
) -> None:
    """Prints sizes of datasets, by default of those that have a folder below the root, and writes them as JSON.

    Raises:
      UserError: no such dataset or folder; none is there.
    """
    with json_file(json_path) as write:
        chosen = [source_of(name) for name in names or stats.present(root)]
        found = [stats.describe(source, root, cache) for source in chosen]
        rows = [row for described, _ in found for row in described]
        write(rows)
    heads = ("dataset", "split", "sequences", "frames", "visible", "classes", "box side, px", "frame size", "disk")
    cells = [heads, *map(stats_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print("box side: the root of the area; 5, 50 and 95 %. Frame size and disk: from a sample of images.")
    for source, (_, absent) in zip(chosen, found, strict=True):
        for split, why in absent.items():
            print(f"{source.title} {split}: not counted: {why}")


def stats_cells(row: dict) -> tuple[str, ...]:
    """A row of `stats.describe` as it is printed."""
    usual = next(iter(row["frame_sizes"].items()), None)
    share = f"{usual[0]} ({usual[1] / sum(row['frame_sizes'].values()):.0%})" if usual else "-"
    return (
        row["dataset"], row["split"], f"{row['sequences']:,}", f"{row['frames']:,}", f"{row['visible_share']:.1%}",
        f"{row['classes'] or '-'}", " ".join(f"{row['box_side_px'][q]:.0f}" for q in ("5%", "50%", "95%")), share,
        f"{row['disk_bytes'] / 2**30:.2f} GiB" if row["disk_bytes"] else "-",
    )  # fmt: skip


def build_command(
    name: str,
    out: str,
    root: Path | None = None,
    splits: list[str] | None = None,
    shard_mib: float = 256,
    cache: Path = DEFAULT_CACHE,
    tiles: bool | None = None,
) -> None:
    """Builds splits of a dataset below `out` and prints what was done; by default those whose folders are there, and
    in tiles where the program for it is installed.

    Raises:
      UserError: what `tfds_build.build` raises; none of the splits is there.
    """
    from relo_jax.data.records import build, tiled_jpeg

    source = layouts.source(name)
    if tiles is None:
        tiles = tiled_jpeg.can_add_restarts()
        if not tiles:
            print(f"without tiles, which training reads faster: {tiled_jpeg.PROGRAM} is not installed")
    there, refused = [], {}
    for split in splits or source.splits:
        try:
            open_dataset(source, split, root, cache)
            there.append(split)
        except UserError as error:
            if splits:
                raise
            refused[split] = error
    if not there:
        raise next(iter(refused.values()))
    for split in there:
        print(build.build(source, split, out, root, shard_mib, cache, tiles))
    for split, error in refused.items():
        print(f"{source.title} {split}: not built: {error}")
