"""docs/performance.md from the rows in benchmarks/results/: the last one of each kind, with its machine and command.

    python -m benchmarks.tables            # writes docs/performance.md and its picture
    python -m benchmarks.tables --check    # status 1 where they are not what the rows say

Nothing is typed in: a figure that is not in a row is not in the document.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.common import RESULTS

DOCS = Path(__file__).parents[1] / "docs"
ONLINE_AIM = 1.3  # times the frames/s of the port, of t256 in float32 on two cores
# On a GPU: frames/s online, the share of a matrix product's rate, the frame path's time over the clip path's.
GPU_ONLINE_AIMS, GPU_SHARE_AIM, GPU_PATH_AIM = {"t256": 800, "b256": 500, "l256": 250}, 0.45, 3.0
INTRODUCTION = """# Performance

Made by `python -m benchmarks.tables` from [`benchmarks/results/`](../benchmarks/results), where each row has its
machine, versions, command and date. Times are medians. Below each table is where its rows come from; figures of two
rows are not to be divided by each other unless they are of the same run.

{machines}
The aims on a GPU are: 800 (t256), 500 (b256) and 250 (l256) frames/s online; 45% of the rate of a large matrix product
in bfloat16, in lockstep and in an update of the RL stage; that update by the clip path in a third of the frame path's
time. Where a row is of a GPU, the text above its table says how far it is.
"""


def rows(name):
    """The rows of a benchmark, oldest first."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def latest(found, *keys):
    """The last row of each device for each combination of the fields `keys`, in the order of their first."""
    last = {}
    for row in found:
        last[place(row), *(str(row.get(key)) for key in keys)] = row
    return list(last.values())


def table(heads, cells):
    """Markdown; numbers to the right."""
    lines = [heads, [":--" if k == 0 else "--:" for k in range(len(heads))], *cells]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)


def origin(found):
    """Where rows come from, in a line each that differs."""
    lines = []
    for row in found:
        machine = row["machine"]
        where = f"{machine['cpu']}, {machine['cores']} cores" if isinstance(machine, dict) else machine
        device = machine.get("device", "") if isinstance(machine, dict) else ""
        device = "" if device.startswith("cpu") else f", {device}"
        lines.append(f"`{row['command']}`, {where}{device}, {row['date'][:10]}")
    return "\n".join(f"- {line}" for line in dict.fromkeys(lines))


def place(row):
    """The device of a row, short: `CPU`, `NVIDIA H200`."""
    machine = row["machine"]
    kind, _, name = (machine.get("device", "") if isinstance(machine, dict) else "").partition(": ")
    return name if kind in ("gpu", "tpu") else "CPU"


def is_gpu(row):
    """Whether a row is of a kind that the aims are about."""
    return isinstance(row["machine"], dict) and row["machine"].get("device", "").startswith("gpu")


def section(title, text, found, heads, cells):
    """A chapter of the document; empty where there is no row."""
    if not found:
        return ""
    return f"\n## {title}\n\n{text}\n\n{table(heads, cells)}\n\n{origin(found)}\n"


def machines():
    """What the rows are of, in a sentence."""
    found = [row["machine"] for path in sorted(RESULTS.glob("*.jsonl")) for row in rows(path.stem)]
    found = [machine for machine in found if isinstance(machine, dict)]
    devices = sorted({machine["device"] for machine in found if not machine["device"].startswith("cpu")})
    if devices:
        return f"Rows of accelerators are of {', '.join(devices)}; all others are of CPUs."
    cores = sorted({machine["cores"] for machine in found})
    return (
        "There is no row of a GPU or a TPU yet, those figures are open: every one below is of a CPU with "
        f"{' or '.join(map(str, cores))} cores."
    )


def input_pipeline():
    found = latest([r for r in rows("data_pipeline") if "sequences" in r], "sequences")
    cells = []
    for row in found:
        for threads in (1, 2):
            rate = row[f"workers_{threads}"]
            ours = [(rate[f"{way}_clips_per_second"], f"{rate[f'{way}_ratio']} x") for way in ("folder", "tiled")]
            apart = row["grey_levels_apart"]["tiled"]["mean"]
            plain = rate["straightforward_clips_per_second"]
            cells.append([row["sequences"], threads, plain, *ours[0], *ours[1], apart])
    text = (
        "Clips a second (8 search frames of 256 px, two templates of 128 px) from 1280 x 720 JPEG: OpenCV decodes\n"
        "each frame whole, crops, resizes; the same clips from the folder; and from a dataset built in tiles\n"
        "([datasets-tfds.md](datasets-tfds.md)). *Enlarged*: real sequences brought to that size; *mosaic*:\n"
        "photographs side by side, more detail than a video has. Last column: grey levels that crops are apart."
    )
    heads = ["frames", "threads", "OpenCV", "folder", "", "tiles", "", "apart"]
    return section("Input pipeline", text, found, heads, cells)


def memory_of_clips():
    found = [r for r in rows("data_pipeline") if "memory_of_clips" in r][-1:]
    if not found:
        return ""
    row = found[0]
    text = (
        f"Resident memory while {row['memory_of_clips']:,} clips are read: {row['mib_first']:.0f} MiB after the first, "
        f"{row['mib_last']:.0f} MiB after the last.\n\n![resident memory](performance_memory.svg)"
    )
    return f"\n### Memory\n\n{text}\n\n{origin(found)}\n"


def draw_memory(row, path):
    """The curve of resident memory."""
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


def datasets():
    found = latest(rows("data_index"), "dataset")
    cells = [
        [r["dataset"], f"{r['first']['sequences']:,}", r["first"]["seconds"], r["second"]["seconds"], r["index_mib"],
         r["second"]["mib_peak"] - r["second"]["mib_before"]]
        for r in found
    ]  # fmt: skip
    text = "Opening a dataset that has no index yet, and again: seconds; what the index takes on disk and in memory."
    heads = ["layout of", "sequences", "first", "again", "MiB on disk", "MiB in memory"]
    return section("Opening a dataset", text, found, heads, cells)


def memory():
    found = latest(rows("memory"), "variant", "clips", "accumulate", "dtype")
    cells = [
        [r["variant"], r["clips"], r["frames"], r["accumulate"], r["dtype"], r["arguments_gib"], r["peak_gib"]]
        for r in found
    ]
    text = (
        "One update of the RL stage, by the estimate of the compiler of that machine's backend; no remat. GiB of\n"
        "weights, optimiser and batch, and the peak with them."
    )
    heads = ["variant", "clips", "frames", "parts", "dtype", "arguments", "peak"]
    return section("Memory of training", text, found, heads, cells)


def tracking():
    found = latest([r for r in rows("track") if "online_over_port" in r], "variant", "dtype", "batch", "chunk")
    cells = [
        [
            r["variant"], place(r), r["dtype"], r["online_ms"]["median"], r["online_frames_per_second"],
            f"{r['online_over_port']} x",
            r["chunked_frames_per_second"], f"{r['lockstep_frames_per_second']} ({r['batch']})", r["gflops_a_frame"],
            f"{r['network_share_of_matmul']:.0%}",
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "Frames of 640 x 480 with a random model. *Online*: `Tracker.update`, and how many times a straightforward\n"
        "port of the model it runs ([`port.py`](../benchmarks/port.py): the template encoded, all heads and tokens\n"
        "computed with every frame). *Chunked*: frames/s by `--chunk`. *Lockstep*: frames/s of several videos in one\n"
        "batch. *Share*: of the rate of a large matrix product, reached by the network alone."
    )
    text += "".join(map(_short_of_aim, found)) + "".join(map(_on_gpu, found))
    heads = ["variant", "on", "dtype", "ms online", "frames/s", "port", "chunked", "lockstep (videos)", "GFLOP"]
    heads.append("share")
    return section("Tracking", text, found, heads, cells)


def _short_of_aim(row):
    """What is said of the row that was to be `ONLINE_AIM` times as quick as the port, and is not."""
    is_meant = (row["variant"], row["dtype"], row["machine"]["cores"]) == ("t256", "float32", 2)
    if not is_meant or row["online_over_port"] >= ONLINE_AIM:
        return ""
    more = "little more"
    if "port_gflops_a_frame" in row:
        more = f"only {row['port_gflops_a_frame'] / row['gflops_a_frame'] - 1:.0%} more"
    return (
        f"\n\nThe aim for t256 in float32 on two cores was {ONLINE_AIM} times the port. It is not reached, the\n"
        f"column says what is: with one template the port does {more} arithmetic than the tracker."
    )


def _on_gpu(row):
    """How far a row of a GPU is from the aim of its variant, and where its time goes."""
    aim = GPU_ONLINE_AIMS.get(row["variant"])
    if not is_gpu(row) or aim is None or row["dtype"] != "bfloat16":
        return ""
    network, whole = row["network_ms"]["median"], row["online_ms"]["median"]
    return (
        f"\n\n{row['variant']} in {row['dtype']} on one {place(row)}: {row['online_frames_per_second']:.0f} frames/s "
        f"online, aim {aim}.\nThe network takes {network:.1f} of {whole:.1f} ms, the rest "
        f"the crop, the copies and the host. {row['batch']} videos in lockstep\nreach "
        f"{row['lockstep_share_of_matmul']:.0%} of a matrix product's rate, aim {GPU_SHARE_AIM:.0%}."
    )


def evaluation():
    found = latest(rows("evaluation"), "variant", "of", "batch")
    cells = [
        [
            r["variant"], f"{r['sequences']} ({r['of']})", r["frames"], r["one_at_a_time_frames_per_second"],
            f"{r['in_lockstep_frames_per_second']} ({r['batch']})", f"{r['ratio']} x", r["largest_difference_px"],
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "A pass of `relo eval` over sequences of unequal length, reading and decoding included, compilation not:\n"
        "frames/s one sequence at a time, and several in lockstep (`--batch`). Last column: pixels that the boxes of\n"
        "the two are apart at most."
    )
    heads = ["variant", "sequences", "frames", "one at a time", "lockstep (batch)", "ratio", "apart"]
    return section("Evaluation", text, found, heads, cells)


def training():
    found = latest([r for r in rows("train_step") if "stage" in r], "stage", "variant", "dtype", "clips", "frames")
    cells = []
    for row in found:
        for path in ("clip", "frame"):
            if told := row.get(f"{path}_path"):
                cells.append([
                    row["variant"], place(row), row["stage"], row["dtype"], row["clips"], row["frames"], path,
                    told["ms"]["median"], told["clips_per_second"], told["gflops"], f"{told['utilisation']:.0%}",
                    told["peak_gib"],
                ])  # fmt: skip
    text = (
        "One update. *Path*: all frames of a clip through each layer together (clip), or frame by frame. *Share*: its\n"
        "matrix products and convolutions a second, of the rate of one large matrix product measured in the same run.\n"
        "*GiB*: peak memory, the compiler's estimate."
    )
    for row in found:
        meant = is_gpu(row) and row["dtype"] == "bfloat16" and row["variant"] in GPU_ONLINE_AIMS
        if meant and "clip_path_over_frame_path" in row:
            text += (
                f"\n\n{row['variant']} in {row['dtype']} on one {place(row)}: the clip path reaches "
                f"{row['clip_path']['utilisation']:.0%} of a matrix product's rate (aim {GPU_SHARE_AIM:.0%}) and\n"
                f"{row['clip_path_over_frame_path']} times the clips/s of the frame path (aim {GPU_PATH_AIM:g})."
            )
    heads = ["variant", "on", "stage", "dtype", "clips", "frames", "path", "ms", "clips/s", "GFLOP", "share", "GiB"]
    return section("Training", text, found, heads, cells)


def scaling():
    found = latest(rows("scaling"), "variant", "clips", "frames", "shard_params", "simulated", "mesh_devices")
    cells = [
        [
            r["variant"], r["clips"], r["frames"], r["shard_params"],
            f"{r['mesh_devices']}{' (simulated)' if r['simulated'] else ''}", r["ms"]["median"], r["clips_per_second"],
            f"{r['over_one_device']} x",
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "One update of the RL stage, the same batch on several devices. *Sharding*: of the parameters. Simulated\n"
        "devices share the cores of one processor: their rows show what the partitioning costs, and no speed."
    )
    heads = ["variant", "clips", "frames", "sharding", "devices", "ms", "clips/s", "over one device"]
    return section("Several devices", text, found, heads, cells)


def attention():
    found = latest(rows("attention"), "variant", "dtype", "batch")
    ways = [way for way in ("textbook", "plain", "xla", "cudnn") if any(f"{way}_ms" in row for row in found)]
    cells = [
        [r["variant"], r["dtype"], r["batch"], *(r[f"{w}_ms"]["median"] if f"{w}_ms" in r else "-" for w in ways)]
        for r in found
    ]
    text = (
        "The attention of all main blocks for one frame of so many videos, ms. *Textbook*: softmax, then the sum.\n"
        "*Plain*: the division by the sum of weights last, which is what is used. *Xla*, *cudnn*: those of\n"
        "`jax.nn.dot_product_attention`."
    )
    return section("Attention", text, found, ["variant", "dtype", "videos", *ways], cells)


def compilation():
    found = latest([r for r in rows("compile_time") if "first_process_seconds" in r], "variant")
    total = lambda seconds: round(seconds["trace"] + seconds["compile"], 1)
    cells = [
        [r["variant"], program.replace("_", " "), total(first), total(r["second_process_seconds"][program])]
        for r in found
        for program, first in r["first_process_seconds"].items()
    ]
    text = "Seconds until a program can run: in a first process, and in the next with what the first left on the disk."
    return section("Compilation", text, found, ["variant", "program", "first", "second"], cells)


SECTIONS = (
    tracking, attention, evaluation, training, scaling, compilation, input_pipeline, memory_of_clips, datasets, memory,
)  # fmt: skip


def document():
    """The text of docs/performance.md."""
    return INTRODUCTION.format(machines=machines()) + "".join(make() for make in SECTIONS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where the document is old")
    args = parser.parse_args()
    path, text = DOCS / "performance.md", document()
    if args.check:
        sys.exit(int(not path.exists() or path.read_text() != text))
    path.write_text(text)
    for row in [r for r in rows("data_pipeline") if "memory_of_clips" in r][-1:]:
        draw_memory(row, DOCS / "performance_memory.svg")
    print(f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path} written")


if __name__ == "__main__":
    main()
