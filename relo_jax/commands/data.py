"""`relo data check | stats | build`: the datasets on this machine, before a run needs them."""

import argparse
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.files import json_file


def add_arguments(parser):
    """The arguments of `relo data` and its three parts."""
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)

    check = _part(parts, "check", run_check, "what is wrong with a dataset, and what to do about it")
    check.add_argument("name", metavar="NAME", help="such as got10k, or folder")
    check.add_argument("--split", help="only this one, such as train")
    check.add_argument("--frames", default="sample", choices=["sample", "all"], help="images to decode (some of each)")
    check.add_argument("--json", type=Path, metavar="FILE", help="what was found")

    stats = _part(parts, "stats", run_stats, "sizes of datasets and of what is in them")
    stats.add_argument("names", nargs="*", metavar="NAME", help="such as got10k (default: all below the root)")
    stats.add_argument("--json", type=Path, metavar="FILE", help="the figures")

    build = _part(parts, "build", run_build, "a dataset as shards of records, for a bucket or a slow disk")
    build.add_argument("name", metavar="NAME", help="such as got10k")
    build.add_argument("--out", required=True, metavar="DIR", help="folder of built datasets, local or gs://")
    build.add_argument("--split", action="append", help="only this one, such as train; may be given more than once")
    build.add_argument("--shard-mib", type=float, default=256, metavar="MIB", help="size of a shard (default 256)")
    build.add_argument(
        "--tiles", action=argparse.BooleanOptionalAction, help="the same pixels as JPEG in tiles, of which training "
        "decodes only some (default: where jpegtran is installed)",
    )  # fmt: skip


def _part(parts, name, run_part, text):
    parser = parts.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run_part=run_part)
    parser.add_argument("--root", type=Path, help="the dataset's folder, or the one it is in (default RELO_DATA_DIR)")
    parser.add_argument(
        "--cache", type=Path, default="runs/data_index", help="folder of the indices (default runs/data_index)"
    )
    return parser


def run(args):
    """Runs the part that was asked for; returns its exit status."""
    return args.run_part(args)


def run_check(args):
    """Checks a dataset's splits and prints what is wrong by kind. Returns the exit status: 1 where anything is fatal.

    Raises:
      UserError: no such dataset, split or folder, or another layout than the official one.
    """
    from relo_jax.data.datasets import check

    source = _source(args.name)
    with json_file(args.json) as write:
        found, absent = check.check(source, [args.split] if args.split else [], args.root, args.cache, args.frames)
        for findings in found:
            print(problem_table(findings))
        for other, why in absent.items():
            print(f"{source.title} {other}: not checked: {why}")
        write({"splits": [f.as_json() for f in found], "not_checked": absent})
    return int(any(findings.fatal(kind) for findings in found for kind in findings.kinds))


def run_stats(args):
    """Prints sizes of datasets, by default of those that have a folder below the root, and writes them as JSON.

    Raises:
      UserError: no such dataset or folder; none is there.
    """
    from relo_jax.data.datasets import stats

    with json_file(args.json) as write:
        chosen = [_source(name) for name in args.names or stats.present(args.root)]
        found = [stats.describe(source, args.root, args.cache) for source in chosen]
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


def run_build(args):
    """Builds splits of a dataset and prints what was done; by default those whose folders are there, and in tiles
    where the program for it is installed.

    Raises:
      UserError: what `build` raises; none of the splits is there.
    """
    from relo_jax.data.datasets import layouts
    from relo_jax.data.datasets.index import open_dataset
    from relo_jax.data.records import tiled_jpeg
    from relo_jax.data.records.build import build

    source, tiles = layouts.dataset_layout(args.name), args.tiles
    if tiles is None:
        tiles = tiled_jpeg.can_add_restarts()
        if not tiles:
            print(f"without tiles, which training reads faster: {tiled_jpeg.PROGRAM} is not installed")
    there, refused = [], {}
    for split in args.split or source.splits:
        try:
            open_dataset(source, split, args.root, args.cache)
            there.append(split)
        except UserError as error:
            if args.split:
                raise
            refused[split] = error
    if not there:
        raise next(iter(refused.values()))
    for split in there:
        print(build(source, split, args.out, args.root, args.shard_mib, args.cache, tiles))
    for split, error in refused.items():
        print(f"{source.title} {split}: not built: {error}")


def _source(name):
    """The layout of a dataset, or of any folder of sequences. Raises UserError."""
    from relo_jax.data.datasets import folder, layouts

    return folder.LAYOUT if name == "folder" else layouts.dataset_layout(name)


def problem_table(findings, examples=3):
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


def stats_cells(row):
    """A row of `stats.describe` as it is printed."""
    usual = next(iter(row["frame_sizes"].items()), None)
    share = f"{usual[0]} ({usual[1] / sum(row['frame_sizes'].values()):.0%})" if usual else "-"
    return (
        row["dataset"], row["split"], f"{row['sequences']:,}", f"{row['frames']:,}", f"{row['visible_share']:.1%}",
        f"{row['classes'] or '-'}", " ".join(f"{row['box_side_px'][q]:.0f}" for q in ("5%", "50%", "95%")), share,
        f"{row['disk_bytes'] / 2**30:.2f} GiB" if row["disk_bytes"] else "-",
    )  # fmt: skip
