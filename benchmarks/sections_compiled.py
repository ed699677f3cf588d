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
        "compile on two busy cores.\n\n"
        "A chain cannot be shorter than eight. The heads' towers have four layers with a BatchNorm each. Its "
        "statistics are those of the whole batch, and each needs the layer before it: four exchanges forward and four "
        "backward, then the gradients. Where the frames of a clip lie on several chips, every main block besides "
        "passes its temporal tokens on to the next one."
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
    found = latest([r for r in rows("forms") if r["dtype"] == "float32"], "checkpoint", "root", "frames")
    number = lambda values, form: f"{values[form]:.4f}" if values else "-"
    cells = [
        [
            r["checkpoint"], r["root"], str(r["frames"]), f"{r['largest_px']:.4f}",
            number(r.get("auc"), "stacked"), number(r.get("auc"), "folded"),
            f"{r['update_ms']['stacked']['median']:.1f}", f"{r['update_ms']['folded']['median']:.1f}",
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "Training runs the stacked model, tracking the folded network (`relo_jax/model/inference.py`), which computes "
        "the same. Here both track the same real sequences in float32, by `python -m benchmarks.forms`. *Apart*: the "
        "largest difference of their boxes in pixels; each follows its own, so one rounding may grow from frame to "
        "frame. *ms*: of an update, in the same run."
    )
    heads = ["checkpoint", "sequences", "frames", "apart", "AUC, stacked", "AUC, folded", "ms, stacked"]
    return section("Two forms of the network", text, found, [*heads, "ms, folded"], cells)


def rounding() -> str:
    found = latest(rows("rounding"), "checkpoint", "root", "noise")
    cells = [
        [
            r["checkpoint"], r["root"], f"{r['auc']['float32']:.4f}", f"{r['auc']['bfloat16']:.4f}",
            f"{r['noise']:g}", f"{min(r['auc']['noise']):.4f} to {max(r['auc']['noise']):.4f}",
            f"{r['step']['size']:.2%}", f"{r['step']['size_bias']:+.2%}", f"{r['step']['offset_cells']:.4f}",
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "What `--dtype bfloat16` changes, by `python -m benchmarks.rounding`. *Noise*: float32 with every weight "
        "multiplied by 1 + noise x a normal number; the range of AUC over its seeds says how far two AUCs of these "
        "few sequences differ by chance. *Step*: from the state that float32 has reached, the difference of one "
        "frame's box in bfloat16: of its size, the mean of that with its sign, and of its centre in cells of 16 "
        "pixels. The heads compute in float32 in either dtype: rounded, they make every box larger by 0.1%, which adds "
        "up. Where the tracker is about to choose another target, any difference decides how the sequence goes on."
    )
    heads = ["checkpoint", "sequences", "AUC, float32", "AUC, bfloat16", "noise", "AUC with noise", "step: size"]
    return section("bfloat16", text, found, [*heads, "with sign", "centre"], cells)


def peer() -> str:
    found = latest(rows("peer"), "variant", "cores")
    names = ["stacked", "folded", "eager", "compile"]
    cells = [
        [
            r["variant"], r["cores"], *(f"{r[f'{name}_ms']['median']:.1f}" for name in names),
            *(f"{r[f'folded_over_{name}']:.2f}" for name in names if name != "folded"),
        ]
        for r in found
    ]  # fmt: skip
    text = (
        "The network of one frame in float32 on a CPU, in ms, and the folded network's time as a share of the others', "
        "all in one run of `python -m benchmarks.peer`. *Eager*, *compile*: the same network in plain PyTorch "
        "([`torch_port.py`](../benchmarks/torch_port.py)), without and with `torch.compile`."
    )
    heads = ["variant", "cores", *names, "of stacked", "of eager", "of compile"]
    return section("Beside PyTorch on a CPU", text, found, heads, cells)
