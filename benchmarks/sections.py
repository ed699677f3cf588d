"""The sections of docs/performance.md, a function each. A section without rows is empty."""

from benchmarks.rows import is_gpu, latest, origin, place, rows, section
from benchmarks.sections_card import card
from benchmarks.sections_compiled import compiled, forms, peer, rounding

ONLINE_AIM = 1.3  # times the frames/s of the port, for t256 in float32 on two cores
# On a GPU: frames/s online; share of a matrix product's rate; time of the frame path over that of the clip path.
GPU_ONLINE_AIMS, GPU_SHARE_AIM, GPU_PATH_AIM = {"t256": 800, "b256": 500, "l256": 250}, 0.45, 3.0


def _removed(name: str) -> str:
    """A sentence for a section whose benchmark is no longer part of the repository."""
    return f"Its benchmark answered the question and was removed; git's history has `benchmarks/{name}.py`."


def tracking() -> str:
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
        "Frames of 640 x 480, a model with random weights. *Online*: `Tracker.update`. *Port*: its speed relative to "
        "a straightforward port of the model ([`port.py`](../benchmarks/port.py)), which encodes the template and "
        "computes all heads and tokens with every frame. *Chunked*: frames/s with `--chunk`. *Lockstep*: frames/s of "
        "several videos in one batch. *Share*: the network's arithmetic, as a share of the rate of a large matrix "
        "product."
    )
    text += "".join(map(_short_of_aim, found)) + "".join(map(_on_gpu, found)) + _goes_up(found)
    heads = ["variant", "on", "dtype", "ms online", "frames/s", "port", "chunked", "lockstep (videos)", "GFLOP"]
    heads.append("share")
    return section("Tracking", text, found, heads, cells)


def _goes_up(found: list[dict]) -> str:
    """What goes up of a frame, and what a call costs before anything is computed, from the last row that has it."""
    having = [row for row in found if "bytes_up_a_frame" in row]
    if not having:
        return ""
    row = having[-1]
    sent, call = row["bytes_up_a_frame"], row["dispatch_us"]
    kilobytes = lambda name: f"{sent[name] / 1000:.0f} kB"
    return (
        f"\n\nOf a frame of {kilobytes('frame')}, {kilobytes('patches')} go up as a patch ({row['batch']} videos in "
        f"lockstep, chunks of {row['chunk']}), {kilobytes('whole')} as a whole frame. A call with weights and state "
        f"of {row['variant']}, {call['arrays']} arrays, takes the host {call['jit']:.0f} µs; compiled ahead of time "
        f"{call['compiled']:.0f} µs, with the arrays as a flat list {call['flat_jit']:.0f} µs."
    )


def _short_of_aim(row: dict) -> str:
    """A note for the row that should reach `ONLINE_AIM` and does not."""
    has_aim = (row["variant"], row["dtype"], row["machine"]["cores"]) == ("t256", "float32", 2)
    if not has_aim or row["online_over_port"] >= ONLINE_AIM:
        return ""
    more = "little more"
    if "port_gflops_a_frame" in row:
        more = f"only {row['port_gflops_a_frame'] / row['gflops_a_frame'] - 1:.0%} more"
    return (
        f"\n\nThe aim for t256 in float32 on two cores was {ONLINE_AIM} times the port. The table shows that it is not "
        f"reached: with one template, the port does {more} arithmetic than the tracker."
    )


def _on_gpu(row: dict) -> str:
    """Compares a GPU's row with the aim of its variant, and says where its time goes."""
    aim = GPU_ONLINE_AIMS.get(row["variant"])
    if not is_gpu(row) or aim is None or row["dtype"] != "bfloat16":
        return ""
    network, whole = row["network_ms"]["median"], row["online_ms"]["median"]
    return (
        f"\n\n{row['variant']} in {row['dtype']} on one {place(row)}: {row['online_frames_per_second']:.0f} frames/s "
        f"online, aim {aim}. The network takes {network:.1f} of {whole:.1f} ms; the rest is the crop, the copies and "
        f"the host. {row['batch']} videos in lockstep reach {row['lockstep_share_of_matmul']:.0%} of a matrix "
        f"product's rate, aim {GPU_SHARE_AIM:.0%}."
    )


def attention() -> str:
    found = latest(rows("attention"), "variant", "dtype", "batch")
    ways = [way for way in ("textbook", "plain", "xla", "cudnn") if any(f"{way}_ms" in row for row in found)]
    cells = [
        [r["variant"], r["dtype"], r["batch"], *(r[f"{w}_ms"]["median"] if f"{w}_ms" in r else "-" for w in ways)]
        for r in found
    ]
    text = (
        "The attention of all main blocks for one frame of each video, in ms. *Textbook*: softmax, then the weighted "
        "sum. *Plain*, which relo_jax uses: it divides by the sum of the weights last. *Xla* and *cudnn*: the "
        "implementations in `jax.nn.dot_product_attention`."
    )
    return section("Attention", text, found, ["variant", "dtype", "videos", *ways], cells)


def evaluation() -> str:
    found = latest(rows("evaluation"), "variant", "of", "batch")
    cells = [
        [
            r["variant"], f"{r['sequences']} ({r['of']})", r["frames"], r["one_at_a_time_frames_per_second"],
            f"{r['in_lockstep_frames_per_second']} ({r['batch']})", f"{r['ratio']} x", r["largest_difference_px"],
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "`relo eval` over sequences of unequal length, in frames/s: one sequence at a time, and several in lockstep "
        "(`--batch`). Reading and decoding count, compilation does not. *Apart*: the largest difference of the boxes, "
        "in pixels."
    )
    heads = ["variant", "sequences", "frames", "one at a time", "lockstep (batch)", "ratio", "apart"]
    return section("Evaluation", text, found, heads, cells)


def training() -> str:
    found = latest([r for r in rows("train_step") if "stage" in r], "stage", "variant", "dtype", "clips", "frames")
    cells = []
    for row in found:
        for path in ("clip", "frame"):
            if measured := row.get(f"{path}_path"):
                cells.append([
                    row["variant"], place(row), row["stage"], row["dtype"], row["clips"], row["frames"], path,
                    measured["ms"]["median"], measured["clips_per_second"], measured["gflops"],
                    f"{measured['utilisation']:.0%}", measured["peak_gib"],
                ])  # fmt: skip
    text = (
        "One update. *Path*: all frames of a clip pass through each layer together (clip), or frame after frame "
        "(frame). *Share*: arithmetic of matrix products and convolutions, as a share of the rate of a large matrix "
        "product that was measured in the same run. *GiB*: peak memory by the compiler's estimate."
    )
    for row in found:
        has_aim = is_gpu(row) and row["dtype"] == "bfloat16" and row["variant"] in GPU_ONLINE_AIMS
        if has_aim and "clip_path_over_frame_path" in row:
            text += (
                f"\n\n{row['variant']} in {row['dtype']} on one {place(row)}: the clip path reaches "
                f"{row['clip_path']['utilisation']:.0%} of a matrix product's rate (aim {GPU_SHARE_AIM:.0%}) and "
                f"{row['clip_path_over_frame_path']} times the clips/s of the frame path (aim {GPU_PATH_AIM:g})."
            )
    heads = ["variant", "on", "stage", "dtype", "clips", "frames", "path", "ms", "clips/s", "GFLOP", "share", "GiB"]
    return section("Training", text, found, heads, cells)


def scaling() -> str:
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
        "One update of the RL stage: the same batch on several devices. *Sharding*: of the parameters. Simulated "
        "devices share the cores of one processor, so their rows show the cost of partitioning and no speed-up. "
        "Devices that the clips leave share the frames of clips: see [cluster.md](cluster.md)."
    )
    heads = ["variant", "clips", "frames", "sharding", "devices", "ms", "clips/s", "over one device"]
    return section("Several devices", text, found, heads, cells)


def memory() -> str:
    found = latest(rows("memory"), "variant", "stage", "clips", "accumulate", "dtype")
    cells = [
        [r["variant"], r.get("stage", "rl"), r["clips"], r["frames"], r["accumulate"], r["dtype"], r["arguments_gib"],
         r["peak_gib"]]
        for r in found
    ]  # fmt: skip
    text = (
        "One update without remat, by the estimate of the compiler for that machine's backend. *Arguments*: GiB of "
        "weights, optimiser state and batch. *Peak*: these included."
    )
    heads = ["variant", "stage", "clips", "frames", "parts", "dtype", "arguments", "peak"]
    return section("Memory of training", text, found, heads, cells)


def compilation() -> str:
    found = latest([r for r in rows("compile_time") if "first_process_seconds" in r], "variant")
    total = lambda seconds: round(seconds["trace"] + seconds["compile"], 1)
    cells = [
        [r["variant"], program.replace("_", " "), total(first), total(r["second_process_seconds"][program])]
        for r in found
        for program, first in r["first_process_seconds"].items()
    ]
    text = (
        "Seconds until a program can run: in a first process, and in a second one that finds the first one's compiled "
        f"programs on disk. {_removed('compile_time')} `relo profile` and `python -m benchmarks.memory` print the "
        "seconds of a first process."
    )
    return section("Compilation", text, found, ["variant", "program", "first", "second"], cells)


def input_pipeline() -> str:
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
        "Clips a second (8 search regions of 256 px, two templates of 128 px) from JPEG frames of 1280 x 720. "
        "*OpenCV* decodes each frame whole, crops and resizes. The other columns are this pipeline, from the folder "
        "and from a dataset built with tiles ([datasets-tfds.md](datasets-tfds.md)). *Enlarged*: real sequences "
        "brought to that size. *Mosaic*: photographs side by side, with more detail than a video has. *Apart*: mean "
        "difference of the crops in grey levels."
    )
    heads = ["frames", "threads", "OpenCV", "folder", "", "tiles", "", "apart"]
    return section("Input pipeline", text, found, heads, cells)


def memory_of_clips() -> str:
    found = [r for r in rows("data_pipeline") if "memory_of_clips" in r][-1:]
    if not found:
        return ""
    row = found[0]
    text = (
        f"Resident memory while {row['memory_of_clips']:,} clips are read: {row['mib_first']:.0f} MiB after the first, "
        f"{row['mib_last']:.0f} MiB after the last.\n\n![resident memory](performance_memory.svg)"
    )
    return f"\n### Memory\n\n{text}\n\n{origin(found)}\n"


def datasets() -> str:
    found = latest(rows("data_index"), "dataset")
    cells = [
        [r["dataset"], f"{r['first']['sequences']:,}", r["first"]["seconds"], r["second"]["seconds"], r["index_mib"],
         r["second"]["mib_peak"] - r["second"]["mib_before"]]
        for r in found
    ]  # fmt: skip
    text = (
        "Seconds to open a dataset the first time, when its index is built, and again; size of the index on disk and "
        f"in memory. The datasets were made up in the official layouts. {_removed('data_index')}"
    )
    heads = ["layout of", "sequences", "first", "again", "MiB on disk", "MiB in memory"]
    return section("Opening a dataset", text, found, heads, cells)


def frame_storage() -> str:
    found = rows("frame_storage")[-1:]
    cells = [
        [way, r["ms_in_memory"]["median"], r["ms_from_disk"]["median"], r["size_over_images"]]
        for row in found
        for way, r in row["ways"].items()
    ]
    text = (
        "Milliseconds to read one frame at random, without decoding it, from JPEG frames of 1280 x 720: with the "
        "files in memory, and after the operating system was told to drop them. *Size*: of the files, relative to the "
        "images. `relo data build` writes a record a frame, because it reads single frames nearly as fast as files do. "
        f"{_removed('frame_storage')}"
    )
    return section("Storage of frames", text, found, ["way", "in memory", "dropped before", "size"], cells)


def estimators() -> str:
    found = rows("estimators")[-1:]
    cells = []
    for row in found:
        steps = row["steps_to"]["0.99 of REINFORCE's"]
        for name, auc in row["final_auc"].items():
            scatter = [at.get(name, 0) for at in row["scatter"].values()]
            by_seed = ", ".join(map(str, steps[name]))
            cells.append([f"`{name}`", *scatter, by_seed, f"{auc:.3f}", f"{row['update_ms'][name]['median']:.0f}"])
    text = (
        "Estimators of the policy gradient ([study/estimator.md](study/estimator.md)) on the RL stage of the tiny "
        "starter. *Scatter* at three steps: variance of the policy head's gradient over the squared length of its "
        "mean, with raw advantages. *Steps*: until the greedy policy reaches 0.99 of REINFORCE's last AUC on "
        "held-out clips, a number a seed. *ms*: an update of the heads. The exact gradient costs no more and needs two "
        "thirds of the "
        f"steps. {_removed('estimators')}"
    )
    at = [f"scatter, {step}" for row in found for step in row["scatter"]]
    return section("Policy gradients", text, found, ["estimator", *at, "steps", "last AUC", "ms"], cells)


SECTIONS = (
    tracking, peer, attention, evaluation, training, card, compiled, forms, rounding, scaling, memory, compilation,
    input_pipeline, memory_of_clips, datasets, frame_storage, estimators,
)  # fmt: skip
