"""`relo data check | stats | build`: checks, measures and builds the datasets on this machine."""

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from relo_jax import tables
from relo_jax.errors import UserError, did_you_mean
from relo_jax.files import json_file

if TYPE_CHECKING:
    from relo_jax.data.datasets.check import Findings
    from relo_jax.data.datasets.layout import DatasetLayout

STATS_COLUMNS = ("dataset", "split", "sequences", "frames", "visible", "classes", "box side, px", "frame size", "disk")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `relo data` and its three actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    check = _add_action(actions, "check", run_check, "list what is wrong with a dataset, and the remedies")
    check.add_argument("name", metavar="NAME", help="such as got10k; folder: a folder of your own sequences")
    check.add_argument("--split", help="check only this split, such as train")
    check.add_argument("--frames", default="sample", choices=["sample", "all"], help="images to decode (some of each)")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the findings")

    stats = _add_action(actions, "stats", run_stats, "sizes and contents of datasets")
    stats.add_argument(
        "names", nargs="*", metavar="NAME", help="such as got10k, or folder (default: all below the root)"
    )
    stats.add_argument("--json", type=Path, metavar="FILE", help="write the statistics")

    build = _add_action(
        actions, "build", run_build, "write a dataset as shards of records, for a bucket or a slow disk"
    )
    build.add_argument("name", metavar="NAME", help="such as got10k")
    build.add_argument("--out", required=True, metavar="DIR", help="folder of built datasets, local or gs://")
    build.add_argument("--split", action="append", help="build only this split, such as train; may be repeated")
    build.add_argument("--shard-mib", type=float, default=256, metavar="MIB", help="size of a shard (default 256)")
    build.add_argument(
        "--tiles", action=argparse.BooleanOptionalAction, help="store the same pixels as tiled JPEG, of which training "
        "decodes only the tiles it needs (default: if jpegtran is installed)",
    )  # fmt: skip


def _add_action(actions, name: str, run_action, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run_action=run_action)
    root = "folder of the dataset, or of the datasets, or of sequences (or RELO_DATA_DIR)"
    cache = Path("runs/data_index")
    parser.add_argument("--data-root", "--root", type=Path, metavar="DIR", help=root)
    parser.add_argument("--cache", type=Path, default=cache, metavar="DIR", help=f"folder of indices (default {cache})")
    parser.add_argument(
        "--smallest-side", type=int, metavar="PIXELS", help="of coco: only objects that are wider and higher than this "
        "(default 50; what config.data.coco_smallest_side has, which is 0 in the release's recipes)",
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> int | None:
    """Runs one action; returns its exit status."""
    return args.run_action(args)


def run_check(args: argparse.Namespace) -> int:
    """Checks a dataset's splits and prints their problems by kind. Returns exit status 1 if any problem is fatal.

    Raises:
      UserError: no such dataset, split or folder, or a layout other than the official one.
    """
    from relo_jax.data.datasets import check

    layout = _layout(args.action, args.name, args.smallest_side)
    with json_file(args.json) as write:
        checked, unopened = check.check(
            layout, [args.split] if args.split else [], args.data_root, args.cache, args.frames
        )
        for findings in checked:
            print(problem_table(findings))
        for split, reason in unopened.items():
            print(f"{layout.title} {split}: not checked: {reason}")
        write({"splits": [findings.as_json() for findings in checked], "not_checked": unopened})
    return int(any(findings.fatal(kind) for findings in checked for kind in findings.kinds))


def run_stats(args: argparse.Namespace) -> None:
    """Prints statistics of datasets, by default of those that have a folder below the root.

    Raises:
      UserError: no such dataset or folder; no dataset below the root.
    """
    from relo_jax.data.datasets import stats

    with json_file(args.json) as write:
        names = args.names or stats.present(args.data_root)
        with_side = "coco" if "coco" in names else names[0]
        chosen = [_layout(args.action, name, args.smallest_side if name == with_side else None) for name in names]
        described = [stats.describe(layout, args.data_root, args.cache) for layout in chosen]
        rows = [row for split_rows, _ in described for row in split_rows]
        write(rows)
    print(tables.terminal([STATS_COLUMNS, *map(stats_cells, rows)], "l" * len(STATS_COLUMNS)))
    print("box side: sqrt(w h); 5, 50 and 95 %. Frame size and disk: from a sample of images.")
    for layout, (_, unopened) in zip(chosen, described, strict=True):
        for split, reason in unopened.items():
            print(f"{layout.title} {split}: not counted: {reason}")


def run_build(args: argparse.Namespace) -> None:
    """Builds splits of a dataset and prints a report of each.

    Builds by default all splits that are on disk, and tiles their images if jpegtran is installed.

    Raises:
      UserError: see `build`; or no split is on disk.
    """
    from relo_jax.data.datasets import layouts
    from relo_jax.data.datasets.index import open_splits
    from relo_jax.data.records import tiled_jpeg
    from relo_jax.data.records.build import build

    if args.name == "folder":
        raise UserError("relo data build folder: name an official dataset; a folder of sequences is read as it is")
    layouts.dataset_layout(args.name)
    layout, tiles = _layout(args.action, args.name, args.smallest_side), args.tiles
    if tiles is None:
        tiles = tiled_jpeg.can_add_restarts()
        if not tiles:
            print(f"without tiles, which training would read faster: {tiled_jpeg.PROGRAM} is not installed")
    splits, unopened = open_splits(layout, args.split or (), args.data_root, args.cache)
    for split in splits:
        print(build(layout, split, args.out, args.data_root, args.shard_mib, args.cache, tiles))
    for split, reason in unopened.items():
        print(f"{layout.title} {split}: not built: {reason}")


def _layout(action: str, name: str, smallest_side: int | None = None) -> "DatasetLayout":
    """The layout of a dataset, or of any folder of sequences, for an action such as "check".

    Raises:
      UserError: no such dataset; a size of objects where it is not read, or a negative one.
    """
    from relo_jax.data.datasets import folder, layouts

    if smallest_side is not None and (name != "coco" or smallest_side < 0):
        expected = "coco has a smallest side, other datasets have none" if name != "coco" else "give pixels, from 0 on"
        raise UserError(f"relo data {name} --smallest-side {smallest_side}: {expected}")
    if name == "folder":
        return folder.LAYOUT
    if name not in layouts.NAMES:
        raise UserError(f"no dataset is called {name!r}{_hint(action, name, ('folder', *layouts.NAMES))}")
    return layouts.dataset_layout(name, smallest_side)


def _hint(action: str, name: str, known: tuple[str, ...]) -> str:
    """What an unknown dataset may mean: the folder of this name, or the nearest dataset."""
    if not os.path.isdir(name):
        return did_you_mean(name.lower(), known, cutoff=0.4)
    from relo_jax.data.datasets import layouts

    called = Path(name).absolute().name.lower()
    names = lambda dataset: layouts.dataset_layout(dataset).folders if dataset != "folder" else ()
    dataset = next((one for one in known if called in map(str.lower, (one, *names(one)))), "folder")
    return f"; for the folder of this name: relo data {action} {dataset} --data-root {shlex.quote(name)}"


def problem_table(findings: "Findings", examples: int = 3) -> str:
    """A split's size, and its problems by kind with the first examples of each."""
    dataset = findings.dataset
    lines = [
        f"{dataset.layout.title} {dataset.split} in {dataset.root}: {tables.counted(len(dataset), 'sequence')}, "
        f"{tables.counted(int(dataset.lengths.sum()), 'frame')}, {findings.scanned:,} of them decoded"
    ]
    width = max(map(len, findings.kinds), default=0)
    for kind in findings.kinds:
        count, first = findings.counts[kind], findings.examples[kind][:examples]
        lines.append(f"  {'fatal' if findings.fatal(kind) else 'note ':<7}{kind:<{width}}{count:>9,}")
        lines += [f"           {problem}" for problem in first]
        lines += [f"           and {count - len(first):,} more"] if count > len(first) else []
    return "\n".join(lines if findings.kinds else [*lines, "  no problems"])


def stats_cells(row: dict) -> tuple[str, ...]:
    """The printed cells of a row of `stats.describe`."""
    usual = next(iter(row["frame_sizes"].items()), None)
    share = f"{usual[0]} ({usual[1] / sum(row['frame_sizes'].values()):.0%})" if usual else "-"
    return (
        row["dataset"], row["split"], f"{row['sequences']:,}", f"{row['frames']:,}", f"{row['visible_share']:.1%}",
        f"{row['classes'] or '-'}", " ".join(f"{row['box_side_px'][q]:.0f}" for q in ("5%", "50%", "95%")), share,
        f"{row['disk_bytes'] / 2**30:.2f} GiB" if row["disk_bytes"] else "-",
    )  # fmt: skip
