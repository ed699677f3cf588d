"""docs/performance.md says what is in the rows: which machines, which aim was missed, and a table of each kind."""

import json

import pytest

from benchmarks import tables

MACHINE = {"cpu": "CPU", "cores": 2, "device": "cpu: cpu"}
ABOUT = {"machine": MACHINE, "command": "python -m benchmarks.x", "date": "2026-11-24 01:34 UTC"}
TRACK = {
    "variant": "t256", "dtype": "float32", "batch": 4, "chunk": 8, "online_ms": {"median": 60.2},
    "online_frames_per_second": 16.6, "online_over_port": 1.136, "chunked_frames_per_second": 17.6,
    "lockstep_frames_per_second": 18.3, "gflops_a_frame": 20.0, "network_share_of_matmul": 0.67,
}  # fmt: skip

ATTENTION = {"variant": "t256", "dtype": "float32", "batch": 1, "textbook_ms": {"median": 11.7}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes rows of a benchmark where they are looked for, and returns the document."""
    monkeypatch.setattr(tables, "RESULTS", tmp_path)

    def write(name, *rows):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({**ABOUT, **row}) + "\n" for row in rows))
        return tables.document()

    return write


def test_that_there_is_no_accelerator_is_said_until_there_is_one(write):
    assert "no row of a GPU or a TPU yet" in write("track", TRACK) and "with 2 cores." in write("track", TRACK)
    there = write("attention", {**ATTENTION, "machine": {**MACHINE, "device": "gpu: NVIDIA H100"}})
    assert "no row of" not in there and "Rows of accelerators are of gpu: NVIDIA H100;" in there
    for text in (write("track", TRACK), there):
        assert "800 (t256), 500 (b256) and 250 (l256) frames/s online" in text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (TRACK, "does little more arithmetic"),
        ({**TRACK, "port_gflops_a_frame": 23.4}, "does only 17% more arithmetic"),
        ({**TRACK, "online_over_port": 1.3}, None),
        ({**TRACK, "dtype": "bfloat16"}, None),
        ({**TRACK, "machine": {**MACHINE, "cores": 16}}, None),
    ],
)
def test_an_aim_that_was_missed_is_named_with_its_reason(row, said, write):
    text = write("track", row)
    assert f"{row['online_over_port']} x" in text
    assert ("was 1.3 times the port. It is not reached" in text) == (said is not None)
    assert said is None or said in text


def test_rows_of_a_gpu_say_how_far_they_are_from_the_aims(write):
    gpu = {"machine": {**MACHINE, "device": "gpu: NVIDIA H200"}}
    cpu = {**TRACK, "dtype": "bfloat16", "network_ms": {"median": 20.0}, "lockstep_share_of_matmul": 0.07}
    text = write("track", cpu, {**cpu, **gpu})
    assert text.count("aim 800.") == 1
    assert "t256 in bfloat16 on one NVIDIA H200: 17 frames/s online, aim 800." in text
    assert "takes 20.0 of 60.2 ms" in text and "reach 7% of a matrix product's rate, aim 45%" in text
    assert "| t256 | CPU | bfloat16 |" in text and "| t256 | NVIDIA H200 | bfloat16 |" in text
    for other in ({"dtype": "float32"}, {"machine": {**MACHINE, "device": "tpu: TPU v5 lite"}}):
        assert "aim 800" not in write("track", {**cpu, **gpu, **other})
    path = {"ms": {"median": 20.0}, "clips_per_second": 10.0, "gflops": 1.0, "utilisation": 0.28, "peak_gib": 1.0}
    row = {"variant": "t256", "stage": "rl", "dtype": "bfloat16", "clips": 2, "frames": 8, "clip_path": path}
    row |= {"clip_path_over_frame_path": 1.25}
    said = "reaches 28% of a matrix product's rate (aim 45%)"
    text = write("train_step", {**row, **gpu})
    assert said in text and "1.25 times the clips/s of the frame path (aim 3)" in text
    assert said not in write("train_step", row)


def test_devices_and_attention_have_tables(write):
    one = {
        "variant": "tiny", "clips": 16, "frames": 8, "shard_params": "none", "simulated": True, "mesh_devices": 1,
        "ms": {"median": 400.0}, "clips_per_second": 40.0, "over_one_device": 1.0,
    }  # fmt: skip
    two = {**one, "mesh_devices": 2, "ms": {"median": 500.0}, "clips_per_second": 32.0, "over_one_device": 0.8}
    text = write("scaling", {**one, "clips_per_second": 7.0}, one, two, {**two, "simulated": False})
    rows = [line for line in text.splitlines() if line.startswith("| tiny")]
    assert rows == [
        "| tiny | 16 | 8 | none | 1 (simulated) | 400.0 | 40.0 | 1.0 x |",
        "| tiny | 16 | 8 | none | 2 (simulated) | 500.0 | 32.0 | 0.8 x |",
        "| tiny | 16 | 8 | none | 2 | 500.0 | 32.0 | 0.8 x |",
    ]
    text = write("attention", ATTENTION, {**ATTENTION, "batch": 4, "cudnn_ms": {"median": 1.5}})
    assert "| variant | dtype | videos | textbook | cudnn |" in text
    assert "| t256 | float32 | 1 | 11.7 | - |" in text and "| t256 | float32 | 4 | 11.7 | 1.5 |" in text
