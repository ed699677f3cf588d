"""The sections of docs/performance.md on programs for accelerators: compiled for absent chips, and run on a CPU."""

from benchmarks.compiled import PROGRAMS
from benchmarks.rows import is_gpu, latest, place, rows, section


def compiled() -> str:
    found = latest(rows("compiled"), "target", "variant", "program", "dtype", "effort")
    on_gpu = [r for r in found if "kernels" in r and r["launches"] is not None]
    on_tpu = [r for r in found if "kernels" in r and r["launches"] is None]
    cells = [
        [
            PROGRAMS[r["program"]], r["variant"], r["target"], f"{r['kernels']:,}", f"{r['launches']['graphs']:,}",
            f"{r['launches']['outside']:,}", f"{r['gb']:.2f}", f"{r['tflop']:.3f}", f"{r['roofline_ms']:.2f}",
            _at_measured_rates(r), _measured(r), f"{r['memory_gib']['peak']:.2f}",
        ]
        for r in on_gpu
    ]  # fmt: skip
    text = (
        "What programs cost on chips that were not there: compiled for them by `python -m benchmarks.compiled` "
        "([plan.md](plan.md) says how, and how far to trust it), in bfloat16. *Graphs*, *outside*: launches by the "
        "host of CUDA graphs, and of kernels in none, in one call. *GB*, *TFLOP*: of one call on one chip. *Roofline*: "
        "ms that no run can beat, at the rates of the data sheet; *H200*: at those measured on an H200, 4.3 TB/s and "
        "790 TFLOP/s. *Measured*: ms on a card, where there is a row of it, by the code of its date. "
        "*GiB*: peak memory."
    )
    heads = ["program", "variant", "for", "kernels", "graphs", "outside", "GB", "TFLOP", "roofline", "H200"]
    heads += ["measured", "GiB"]
    page = section("Compiled for an absent GPU", text, on_gpu, heads, cells)
    on = lambda r: [PROGRAMS[r["program"]].split(",")[0], r["variant"], r["target"], r["chips"], r.get("clips") or "-"]
    total = lambda r, name: sum(kind[name] for kind in r["collectives"].values())
    cells = [
        [
            *on(r), "least" if r["effort"] < 0 else "full", f"{r['gb']:.2f}", f"{r['tflop']:.3f}",
            f"{r['roofline_ms']:.2f}", f"{total(r, 'number'):,}", f"{total(r, 'bytes') / 1e6:.2f}",
            f"{r['longest_chain']:,}", f"{r['memory_gib']['peak']:.2f} of {r['memory_gib']['chip']:.0f}",
            f"{r['compile_seconds']:.0f}",
        ]
        for r in on_tpu
    ]  # fmt: skip
    text = (
        "The same for slices of TPUs. *Clips*: of the paper's batch, or as many more as the slice needs. *Effort*: the "
        "compiler's; with the least it keeps less on the chip, so that GB and roofline are too high. *Collectives*: "
        "their number in one call, their MB, and the longest chain of those that wait for each other. *s*: seconds to "
        "compile on two busy cores."
    )
    heads = ["program", "variant", "for", "chips", "clips", "effort", "GB", "TFLOP", "roofline", "collectives", "MB"]
    page += section("Compiled for absent TPUs", text, on_tpu, [*heads, "chain", "GiB", "s"], cells)
    failed = [r for r in found if "failure" in r]
    lines = [f"- {PROGRAMS[r['program']]}, {r['variant']}, for {r['target']}: {r['failure']}" for r in failed]
    return page + ("\nNot compiled:\n\n" + "\n".join(lines) + "\n" if lines else "")


def _at_measured_rates(row: dict) -> str:
    return f"{row['roofline_ms_on_h200']:.2f}" if "roofline_ms_on_h200" in row else "-"


def _measured(row: dict) -> str:
    """The ms that a card took for the program of a compiled row; "-" if no row of a card has it."""
    program = row["program"]
    name, stage = ("track", None) if program == "frame" else ("train_step", program.split("-")[0])
    clips = {"warmup": 64, "warmup-remat": None, "lockstep": None}.get(program, 1 if program.startswith("rl-1") else 16)
    part = "network_ms" if program == "frame" else "frame_path" if program.endswith("frame-path") else "clip_path"
    found = [
        r
        for r in rows(name)
        if is_gpu(r) and (r["variant"], r["dtype"]) == (row["variant"], row["dtype"]) and part in r
        if name == "track" or (r.get("stage"), r["clips"]) == (stage, clips)
    ]
    if not found:
        return "-"
    ms = found[-1][part] if program == "frame" else found[-1][part]["ms"]
    return f"{ms['median']:.2f} ({place(found[-1])})"


def forms() -> str:
    found = latest(rows("forms"), "checkpoint", "dtype", "root", "frames")
    number = lambda values, form: f"{values[form]:.4f}" if values else "-"
    cells = [
        [
            r["checkpoint"], r["dtype"], r["root"], str(r["frames"]), f"{r['largest_px']:.4f}",
            number(r.get("auc"), "stacked"), number(r.get("auc"), "folded"),
            f"{r['update_ms']['stacked']['median']:.1f}", f"{r['update_ms']['folded']['median']:.1f}",
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "Accelerators run the folded network (`relo_jax/model/inference.py`), CPUs the stacked model. Here both track "
        "the same real sequences by `python -m benchmarks.forms`. *Apart*: the largest difference of their boxes in "
        "pixels; each follows its own, so one rounding may grow from frame to frame. In bfloat16 both round at every "
        "layer, in different places, and on hard sequences their paths part, as each parts from that of float32. *ms*: "
        "of an update, in the same run."
    )
    heads = ["checkpoint", "dtype", "sequences", "frames", "apart", "AUC, stacked", "AUC, folded", "ms, stacked"]
    return section("Two forms of the network", text, found, [*heads, "ms, folded"], cells)
