"""docs/performance.md has a table of each kind of row, names the machines, and compares rows with the aims."""

import json

import pytest

from benchmarks import rows, tables

MACHINE = {"cpu": "CPU", "cores": 2, "device": "cpu: cpu"}
GPU = {"machine": {**MACHINE, "device": "gpu: NVIDIA H200"}}
ABOUT = {"machine": MACHINE, "command": "python -m benchmarks.x", "date": "2026-11-24 01:34 UTC"}
TRACK = {
    "variant": "t256", "dtype": "float32", "batch": 4, "chunk": 8, "online_ms": {"median": 60.2},
    "online_frames_per_second": 16.6, "online_over_port": 1.136, "chunked_frames_per_second": 17.6,
    "lockstep_frames_per_second": 18.3, "gflops_a_frame": 20.0, "network_share_of_matmul": 0.67,
}  # fmt: skip

ATTENTION = {"variant": "t256", "dtype": "float32", "batch": 1, "textbook_ms": {"median": 11.7}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes rows of a benchmark and returns the document made from them: its lines, or its words on one line."""
    monkeypatch.setattr(rows, "RESULTS", tmp_path)

    def write(name, *of_benchmark, lines=False):
        text = "".join(json.dumps({**ABOUT, **row}) + "\n" for row in of_benchmark)
        (tmp_path / f"{name}.jsonl").write_text(text)
        return tables.document().splitlines() if lines else " ".join(tables.document().split())

    return write


def test_the_document_is_made_from_the_committed_rows(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tables", "--check"])
    with pytest.raises(SystemExit) as ended:
        tables.main()
    assert ended.value.code == 0, "docs/performance.md is out of date: run python -m benchmarks.tables"


def test_the_document_says_which_devices_were_measured(write):
    cpu = write("track", TRACK)
    assert "No GPU or TPU has been measured yet." in cpu and "with 2 cores." in cpu
    gpu = write("attention", {**ATTENTION, **GPU})
    assert "No GPU or TPU" not in gpu and "Accelerator rows are from NVIDIA H200." in gpu
    for text in (cpu, gpu):
        assert "800 (t256), 500 (b256) and 250 (l256) frames/s online" in text


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (TRACK, "does little more arithmetic"),
        ({**TRACK, "port_gflops_a_frame": 23.4}, "does only 17% more arithmetic"),
        ({**TRACK, "online_over_port": 1.3}, None),
        ({**TRACK, "dtype": "bfloat16"}, None),
        ({**TRACK, "machine": {**MACHINE, "cores": 16}}, None),
    ],
)
def test_an_aim_that_was_missed_is_named_with_its_reason(row, reason, write):
    text = write("track", row)
    assert f"{row['online_over_port']} x" in text
    assert ("was 1.3 times the port. The table shows that it is not reached" in text) == (reason is not None)
    assert reason is None or reason in text


def test_what_goes_up_of_a_frame_is_said_where_it_was_counted(write):
    sent = {"frame": 921_600, "whole": 983_076, "patches": 294_948}
    calls = {"jit": 89.8, "compiled": 91.8, "flat_jit": 63.9, "arrays": 194}
    text = " ".join(write("track", {**TRACK, "bytes_up_a_frame": sent, "dispatch_us": calls}).split())
    assert "Of a frame of 922 kB, 295 kB go up as a patch" in text and "983 kB as a whole frame" in text
    assert "194 arrays, takes the host 90 µs; compiled ahead of time 92 µs" in text
    assert "go up" not in write("track", TRACK)


def test_rows_of_a_gpu_are_compared_with_the_aims(write):
    cpu = {**TRACK, "dtype": "bfloat16", "network_ms": {"median": 20.0}, "lockstep_share_of_matmul": 0.07}
    text = write("track", cpu, {**cpu, **GPU})
    assert text.count("aim 800.") == 1
    assert "t256 in bfloat16 on one NVIDIA H200: 17 frames/s online, aim 800." in text
    assert "takes 20.0 of 60.2 ms" in text and "reach 7% of a matrix product's rate, aim 45%" in text
    assert "| t256 | CPU | bfloat16 |" in text and "| t256 | NVIDIA H200 | bfloat16 |" in text
    for other in ({"dtype": "float32"}, {"machine": {**MACHINE, "device": "tpu: TPU v5 lite"}}):
        assert "aim 800" not in write("track", {**cpu, **GPU, **other})
    path = {"ms": {"median": 20.0}, "clips_per_second": 10.0, "gflops": 1.0, "utilisation": 0.28, "peak_gib": 1.0}
    row = {"variant": "t256", "stage": "rl", "dtype": "bfloat16", "clips": 2, "frames": 8, "clip_path": path}
    row |= {"clip_path_over_frame_path": 1.25}
    share = "reaches 28% of a matrix product's rate (aim 45%)"
    text = write("train_step", {**row, **GPU})
    assert share in text and "1.25 times the clips/s of the frame path (aim 3)" in text
    assert share not in write("train_step", row)


def test_devices_and_attention_have_tables(write):
    one = {
        "variant": "tiny", "clips": 16, "frames": 8, "shard_params": "none", "simulated": True, "mesh_devices": 1,
        "ms": {"median": 400.0}, "clips_per_second": 40.0, "over_one_device": 1.0,
    }  # fmt: skip
    two = {**one, "mesh_devices": 2, "ms": {"median": 500.0}, "clips_per_second": 32.0, "over_one_device": 0.8}
    lines = write("scaling", {**one, "clips_per_second": 7.0}, one, two, {**two, "simulated": False}, lines=True)
    assert [line for line in lines if line.startswith("| tiny")] == [
        "| tiny | 16 | 8 | none | 1 (simulated) | 400.0 | 40.0 | 1.0 x |",
        "| tiny | 16 | 8 | none | 2 (simulated) | 500.0 | 32.0 | 0.8 x |",
        "| tiny | 16 | 8 | none | 2 | 500.0 | 32.0 | 0.8 x |",
    ]
    text = write("attention", ATTENTION, {**ATTENTION, "batch": 4, "cudnn_ms": {"median": 1.5}})
    assert "| variant | dtype | videos | textbook | cudnn |" in text
    assert "| t256 | float32 | 1 | 11.7 | - |" in text and "| t256 | float32 | 4 | 11.7 | 1.5 |" in text


def test_removed_benchmarks_keep_their_findings(write):
    step = {"trace": 0.25, "compile": 0.73}
    seconds = {"first_process_seconds": {"rl_update": step}, "second_process_seconds": {"rl_update": step}}
    assert "| l256 | rl update | 1.0 | 1.0 |" in write("compile_time", {"variant": "l256", **seconds})
    way = {"ms_in_memory": {"median": 0.02}, "ms_from_disk": {"median": 0.2}, "size_over_images": 1.0}
    assert "| a file | 0.02 | 0.2 | 1.0 |" in write("frame_storage", {"ways": {"a file": way}})
    row = {"scatter": {"0": {"rloo": 1.5}, "60": {"rloo": 1.0}}, "final_auc": {"rloo": 0.61, "expected": 0.62}}
    row |= {"update_ms": {name: {"median": 58.3} for name in row["final_auc"]}}
    row["steps_to"] = {"0.99 of REINFORCE's": {"rloo": [15, None], "expected": [10, 15]}}
    text = write("estimators", row)
    assert "| `rloo` | 1.5 | 1.0 | 15, None | 0.610 | 58 |" in text
    assert "| `expected` | 0 | 0 | 10, 15 | 0.620 | 58 |" in text
