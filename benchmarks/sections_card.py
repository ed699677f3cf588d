"""The section of docs/performance.md on what `benchmarks.device` measured on a card, beside aims and limits."""

from collections.abc import Callable

from benchmarks.rows import latest, origin, place, rows, table, wrapped

AIMS = {"t256": 1000, "b256": 600, "l256": 300}  # frames/s online
SHARE_AIM, PATH_AIM = 0.45, 3.0
_TEXT = (
    "What `python -m benchmarks.device --budget 560 --out DIR --record` measures within ten minutes: its stages are "
    "processes, the most telling first ([`plan.py`](../benchmarks/device/plan.py)). All in bfloat16; frames of 640 x "
    "480 in which the target moves by 0.8 pixels. *Limit*: what no run on an H200 can beat, by the roofline of the "
    "program that was compiled for an H100. *Share*: of the rate of 20 chained matrix products in one program. "
    "*PyTorch*: the same network and arithmetic in plain PyTorch ([`torch_port.py`](../benchmarks/torch_port.py)) on "
    "the same card, the quickest of eager, compiled, and compiled with CUDA graphs."
)
_NOTHING = "\n\nNo card has been measured by it yet, so the last columns are blank."


def card() -> str:
    found = [row for row in rows("device") if place(row) != "CPU"]
    places = list(dict.fromkeys(map(place, found)))
    page = f"\n## On a card\n\n{wrapped(_TEXT if places else _TEXT + _NOTHING)}\n"
    for name in places or [None]:
        here = [row for row in found if place(row) == name]
        heads = ["", "variant", "aim", "limit", name or "measured", "PyTorch"]
        page += f"\n{table(heads, _against_aims(here))}\n"
        tried = [row for row in here if row["stage"] in ("forms", "flags")]
        tried = latest(tried, "variant", "videos", "folded", "attention", "flags")
        if tried:
            heads = ["variant", "videos", "form", "attention", "flags", "ms, waited for", "ms, queued", "share"]
            page += f"\n{table(heads, list(map(_way, tried)))}\n"
        if here:
            page += f"\n{origin(here)}\n"
    return page


def _against_aims(found: list[dict]) -> list[list]:
    """Lines of the table of aims; "-" for what nobody measured."""

    def cell(text: Callable[[dict], str], **fields: object) -> str:
        matching = [row for row in found if all(row.get(name) == value for name, value in fields.items())]
        return text(matching[-1]) if matching else "-"

    share = lambda row: f"{row['share_of_rate']:.0%}" if row.get("share_of_rate") is not None else "-"
    per_second = lambda ms: f"{1e3 / ms:,.0f}"
    lines = []
    for variant, aim in AIMS.items():
        rate = cell(lambda row: f"{row['frames_per_second']:,.0f}", what="Tracker.update", variant=variant)
        limit = _compiled("frame", variant, lambda row: per_second(row["roofline_ms_on_h200"]))
        lines.append(["online, frames/s", variant, f"{aim:,}", limit, rate, "-"])
    for variant in AIMS:
        ours = cell(lambda row: per_second(row["waiting_ms"]["median"]), what="network", variant=variant)
        peers = [r for r in found if "peer" in r and "waiting_ms" in r and (r["variant"], r["videos"]) == (variant, 1)]
        peer = per_second(min(r["waiting_ms"]["median"] for r in peers)) if peers else "-"
        lines.append(["network alone, calls/s", variant, "-", "-", ours, peer])
    many = [r for r in found if "peer" in r and "waiting_ms" in r and (r["variant"], r["videos"]) == ("t256", 64)]
    peer = max((r["share_of_rate"] or 0 for r in many), default=0)
    lines.append([
        "64 videos in lockstep, share", "t256", f"{SHARE_AIM:.0%}", _compiled("lockstep", "t256", _share_limit),
        cell(share, what="Lockstep.run", variant="t256"), f"{peer:.0%} (network)" if peer else "-",
    ])  # fmt: skip
    for variant in AIMS:
        ours = cell(share, training="rl", variant=variant, clips=16, path="clip")
        limit = _compiled("rl", variant, _share_limit)
        lines.append(["RL step of 16 clips, share", variant, f"{SHARE_AIM:.0%}", limit, ours, "-"])
    ratio = cell(lambda row: f"{row['clip_path_over_frame_path']} x", variant="t256", clips=1, path="frame")
    lines.append(["RL step of 1 clip, clip path over frame path", "t256", f"{PATH_AIM:g} x", _path_limit(), ratio, "-"])
    return lines


def _compiled(program: str, variant: str, text: Callable[[dict], str]) -> str:
    """What a row of `benchmarks.compiled` for an H100 predicts."""
    fields = {"program": program, "variant": variant, "target": "h100", "dtype": "bfloat16"}
    found = [r for r in rows("compiled") if fields.items() <= r.items() and "roofline_ms_on_h200" in r]
    return text(found[-1]) if found else "-"


def _share_limit(row: dict) -> str:
    return f"{row['model_tflop'] / 790 / (row['roofline_ms_on_h200'] / 1e3):.0%}"


def _path_limit() -> str:
    ms = lambda program: _compiled(program, "t256", lambda row: str(row["roofline_ms_on_h200"]))
    frame, clip = ms("rl-1-frame-path"), ms("rl-1")
    return "-" if "-" in (frame, clip) else f"{float(frame) / float(clip):.1f} x"


def _way(row: dict) -> list:
    """A line of the table of forms and flags."""
    flags = ", ".join(f"`{name.removeprefix('xla_gpu_')}={value}`" for name, value in (row.get("flags") or {}).items())
    form = "folded" if row["folded"] else "stacked"
    about = [row["variant"], row["videos"], form, row.get("attention", "-"), flags or "-"]
    if "failed" in row:
        return [*about, "failed", "-", "-"]
    share = row["share_of_rate"]
    return [*about, row["waiting_ms"]["median"], row["queued_ms"], "-" if share is None else f"{share:.1%}"]
