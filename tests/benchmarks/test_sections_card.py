"""docs/performance.md sets what a card did beside the aims, the limits of the compiled programs, and PyTorch."""

import pytest

from benchmarks import sections_card

MACHINE = {"cpu": "CPU", "cores": 16, "device": "gpu: NVIDIA H200"}
ABOUT = {
    "machine": MACHINE, "command": "python -m benchmarks.device", "date": "2026-11-27 01:00 UTC", "variant": "t256",
    "dtype": "bfloat16",
}  # fmt: skip
TIMES = {"waiting_ms": {"median": 0.8}, "queued_ms": 0.7, "share_of_rate": 0.03}
ROWS = [
    {"stage": "online", "what": "Tracker.update", "frames_per_second": 900.4, **ABOUT},
    {"stage": "online", "what": "Tracker.update", "frames_per_second": 1010.4, **ABOUT},
    {"stage": "online", "what": "network", "videos": 1, **TIMES, **ABOUT},
    {"stage": "forms", "videos": 1, "folded": True, "attention": "cudnn", **TIMES, **ABOUT},
    {"stage": "flags", "videos": 1, "folded": False, "flags": {"xla_gpu_a": 1}, "failed": "no such flag", **ABOUT},
    {"stage": "lockstep", "what": "Lockstep.run", "share_of_rate": 0.37, **ABOUT},
    {"stage": "rl", "training": "rl", "clips": 16, "path": "clip", "share_of_rate": 0.41, **ABOUT},
    {"stage": "rl", "training": "rl", "clips": 1, "path": "frame", "clip_path_over_frame_path": 2.9, **ABOUT},
    {"stage": "peer", "peer": "PyTorch", "what": "eager", "videos": 1, **TIMES, "waiting_ms": {"median": 5.0}, **ABOUT},
    {
        "stage": "peer",
        "peer": "PyTorch",
        "what": "compiled",
        "videos": 1,
        **TIMES,
        "waiting_ms": {"median": 2.0},
        **ABOUT,
    },
    {"stage": "peer", "peer": "PyTorch", "what": "compiled", "videos": 64, **TIMES, "share_of_rate": 0.33, **ABOUT},
]
COMPILED = {"variant": "t256", "target": "h100", "dtype": "bfloat16", "model_tflop": 2.37}
LIMITS = [
    {**COMPILED, "program": "frame", "roofline_ms_on_h200": 0.25},
    {**COMPILED, "program": "rl", "roofline_ms_on_h200": 6.0},
    {**COMPILED, "program": "rl-1", "roofline_ms_on_h200": 0.5},
    {**COMPILED, "program": "rl-1-frame-path", "roofline_ms_on_h200": 2.0},
    {**COMPILED, "program": "rl", "roofline_ms_on_h200": 1.0, "target": "v5e:4x4"},
]


@pytest.fixture
def page(monkeypatch):
    """The section of these rows of benchmarks.device and benchmarks.compiled, as lines."""

    def page(card, compiled):
        monkeypatch.setattr(sections_card, "rows", {"device": card, "compiled": compiled}.get)
        return sections_card.card().splitlines()

    return page


def test_what_no_card_has_measured_is_blank_beside_its_limit(page):
    on_cpu = {**ROWS[0], "machine": {**MACHINE, "device": "cpu: cpu"}}
    lines = page([on_cpu], LIMITS)
    assert "No card has been measured by it yet, so the last columns are blank." in lines
    for line in (
        "|  | variant | aim | limit | measured | PyTorch |",
        "| online, frames/s | t256 | 1,000 | 4,000 | - | - |",
        "| online, frames/s | l256 | 300 | - | - | - |",
        "| RL step of 16 clips, share | t256 | 45% | 50% | - | - |",
        "| RL step of 1 clip, clip path over frame path | t256 | 3 x | 4.0 x | - | - |",
    ):
        assert line in lines


def test_a_card_stands_beside_aims_and_the_quickest_peer(page):
    lines = page(ROWS, [])
    assert not any("No card" in line for line in lines)
    for line in (
        "|  | variant | aim | limit | NVIDIA H200 | PyTorch |",
        "| online, frames/s | t256 | 1,000 | - | 1,010 | - |",
        "| network alone, calls/s | t256 | - | - | 1,250 | 500 |",
        "| 64 videos in lockstep, share | t256 | 45% | - | 37% | 33% (network) |",
        "| RL step of 16 clips, share | t256 | 45% | - | 41% | - |",
        "| RL step of 1 clip, clip path over frame path | t256 | 3 x | - | 2.9 x | - |",
        "| t256 | 1 | folded | cudnn | - | 0.8 | 0.7 | 3.0% |",
        "| t256 | 1 | stacked | - | `a=1` | failed | - | - |",
        "- `python -m benchmarks.device`, CPU, 16 cores, gpu: NVIDIA H200, 2026-11-27",
    ):
        assert line in lines
