"""`python -m benchmarks.device`: the order and the budget of stages, what failed ones leave, and what they measure."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks.device import __main__ as command_line
from benchmarks.device import kernels, measure, plan, run, stand_in, tracking, training
from benchmarks.device.plan import Stage
from relo_jax.checkpoints.pytorch.parameter_map import abstract_variables
from relo_jax.model import RELO, platform, variants
from relo_jax.tracking.tracker import Tracker

ABOUT = {"command": "python -m benchmarks.device", "stage": "x"}
QUICK = {"variant": "mite", "dtype": "float32", "quick": True, "rate": 1e10}
# Of a fake stage: what its name says.
SCRIPT = """
import json, subprocess, sys, time
stage = json.loads(sys.argv[1])["stage"]
print(json.dumps({"value": 1, "matmul_tflops": 2.0, "options": json.loads(sys.argv[1])}), flush=True)
print("a remark")
if stage == "fails":
    print(json.dumps({"value": 2}), flush=True)
    sys.exit("no such thing: cudnn")
if stage == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(json.dumps({"child": child.pid}), flush=True)
    time.sleep(60)
"""
FAKE = lambda stage: [sys.executable, "-S", "-c", SCRIPT]
# What a bare card machine lacks, and Orbax.
LACKING = (
    "array_record", "av", "grain", "ml_collections", "orbax", "simplejpeg", "tensorboardX", "tensorflow",
    "tensorflow_datasets",
)  # fmt: skip
BARE = f"""
import importlib.machinery, json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {LACKING}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *x: None if name.split(".")[0] in {LACKING} else found(name, *x)
from benchmarks.device import measure, stand_in
stand_in.install()
from benchmarks.device import peer, tracking, training
from relo_jax.model import RELO, variants
from relo_jax.tracking.options import checked_options
variants.VARIANTS["mite"] = {{**variants.VARIANTS["tiny"], "width": 32, "depth": 2, "heads": 2, "head_width": 16}}
assert checked_options(tracking.OPTIONS, RELO.from_variant("mite"))["window_power"] == 1
config = training.relo_config.paper("rl")
config.rl.path = "frame"
assert config.copy_and_resolve_references().rl.path == "frame" and training.updater
for row in measure.rows("kernels:attention", {{**{QUICK}, **{ABOUT}}}):
    print(json.dumps(row))
"""


@pytest.fixture(scope="module")
def mite():
    """A variant that compiles at once, and whose weights need no program."""
    small = dict(width=32, depth=2, heads=2, head_width=16, stem_blocks=(0, 0), search_size=64, template_size=32)
    rng = np.random.default_rng(0)
    weights = lambda model, key: jax.tree.map(
        lambda x: rng.uniform(0.01, 0.1, x.shape).astype(x.dtype), abstract_variables(model)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(variants.VARIANTS, "mite", variants.VARIANTS["tiny"] | small)
        for module in (tracking, training):
            patch.setattr(module, "init_variables", weights)
        yield RELO.from_variant("mite", dtype="float32")
    tracking.steady_variables.cache_clear()


def has_ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_stage_that_fails_or_hangs_leaves_its_rows_and_the_reason_and_the_next_one_starts(tmp_path, capsys):
    stages = [Stage("fails", "", 60), Stage("hangs", "", 2, 1), Stage("long", "", 90, 1000), Stage("works", "", 60)]
    results = tmp_path / "results.jsonl"
    rows = run.run(stages, 100, tmp_path / "out", "the command", results, FAKE)
    assert [row["stage"] for row in rows] == ["fails"] * 3 + ["hangs"] * 3 + ["long", "works"]
    assert rows[2]["failed"] == "status 1: no such thing: cudnn" and rows[1]["value"] == 2
    assert rows[5]["failed"] == "did not end within 2 s" and has_ended(rows[4]["child"])
    assert rows[6]["skipped"].startswith("needs at least 1000 s, and 9") and rows[6]["skipped"].endswith(
        "of 100 are left"
    )
    read = lambda path: [json.loads(line) for line in path.read_text().splitlines()]
    assert read(tmp_path / "out" / "rows.jsonl") == rows
    assert read(results) == [row for row in rows if not {"failed", "skipped"} & row.keys()]
    assert "a remark" in (tmp_path / "out" / "log.txt").read_text()
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
    # Later stages know the card's rate.
    assert rows[0]["options"] == {"rate": None, "command": "the command", "stage": "fails"}
    assert rows[7]["options"]["rate"] == 2e12


def test_stages_never_have_more_time_than_the_budget_leaves(tmp_path, monkeypatch):
    clock, limits = [0.0], []

    def rows_of(argv, environment, seconds, *_):
        limits.append(seconds)
        clock[0] += seconds
        yield {"failed": "late"}

    monkeypatch.setattr(run, "_rows_of", rows_of)
    monkeypatch.setattr(run.time, "monotonic", lambda: clock[0])
    stages = [
        Stage("a", "", 60),
        Stage("b", "", 60),
        Stage("c", "", 60, 20),
        Stage("d", "", 5, 5),
        Stage("e", "", 9, 5),
    ]
    rows = run.run(stages, 110, tmp_path, "")
    assert limits == [60, 47] and clock[0] == 107
    assert [row.get("skipped", "")[:16] for row in rows] == [
        "",
        "",
        "needs at least 2",
        "needs at least 5",
        "needs at least 5",
    ]
    limits.clear()
    clock[0] = 0.0
    run.run(stages, 150, tmp_path, "")
    assert limits == [60, 60, 27]
    limits.clear()
    clock[0] = 0.0
    run.run([stages[0], stages[2], stages[3], stages[4]], 74, tmp_path, "")
    assert limits == [60, 5, 6], "a short stage still runs where a longer one does not fit"


def test_stages_take_over_what_was_quickest(tmp_path):
    form = lambda ms, **about: {"stage": "forms", "waiting_ms": {"median": ms}, **about}
    flag = lambda ms, **about: {"stage": "flags", "waiting_ms": {"median": ms}, **about}
    rows = [
        form(2.0, videos=1, folded=False, attention="plain"),
        form(1.0, videos=1, folded=True, attention="plain"),
        form(1.5, videos=1, folded=True, attention="cudnn"),
        form(8.0, videos=64, folded=False, attention="xla"),
        form(9.0, videos=64, folded=True, attention="cudnn"),
        form(9.5, videos=64, folded=True, attention="plain"),
        flag(1.00, folded=True, flags={}),
        flag(0.98, folded=True, flags={"xla_a": 1}),
        flag(0.50, folded=False, flags={"xla_b": 1}),
        {"stage": "flags", "folded": True, "flags": {"xla_c": 1}, "failed": "no such option"},
    ]
    settings = {"folded": True, "attention": ["plain", "cudnn"]}
    assert plan.winners(rows) == (settings, {}), "2% are noise"
    rows.append(flag(0.9, folded=True, flags={"xla_d": True}))
    assert plan.winners(rows) == (settings, {"xla_d": True})
    assert plan.winners([]) == ({}, {}) and plan.winners(rows[:1]) == (
        {"folded": False, "attention": ["plain", "plain"]},
        {},
    )
    script = "import json, os, sys; print(json.dumps({'f': os.environ['XLA_FLAGS'], **json.loads(sys.argv[1])}))"
    first = "import json; [print(json.dumps(row)) for row in " + repr(rows) + "]"
    process = lambda stage: [sys.executable, "-S", "-c", first if stage.name != "large" else script]
    stages = [Stage(name, "", 60) for name in ("forms", "flags")] + [Stage("large", "", 60, takes_winners=True)]
    row = run.run(stages, 100, tmp_path, "", process=process)[-1]
    assert row["f"].endswith("--xla_d=true") and settings.items() <= row.items()


def test_every_stage_exists_and_the_most_telling_come_first():
    for quick in (True, False):
        stages = plan.stages("t256", "bfloat16", quick)
        names = [stage.name for stage in stages]
        assert names[:4] == ["card", "online", "attention", "forms"] and len(set(names)) == len(names)
        for stage in stages:
            assert stage.least < stage.seconds and 5 * 60 > stage.seconds
            module, function = stage.measures.split(":")
            assert callable(getattr(importlib.import_module(f"benchmarks.device.{module}"), function))
    assert {"online-b256", "rl-b256", "online-l256", "rl-l256", "peer", "peer-l256"} <= set(names)


def test_the_command_line_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    for flags, message in (
        (["--only", "crad"], "--only names 'crad', and the stages are card, online,"),
        (["--budget", "0"], "--budget is 0: give the seconds"),
        (["--help"], "python -m benchmarks.device --budget 560 --out runs/card"),
    ):
        monkeypatch.setattr("sys.argv", ["device", "--out", str(tmp_path), *flags])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        said = capsys.readouterr()
        assert message in said.out + said.err and ended.value.code == (0 if flags == ["--help"] else 2)
    monkeypatch.setattr(run, "run", lambda stages, *_: [{"stage": stage.name, "skipped": ""} for stage in stages])
    monkeypatch.setattr("sys.argv", ["device", "--out", str(tmp_path), "--only", "card,peer"])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 1, "nothing was measured"


def test_a_bare_card_machine_has_all_that_is_needed():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, cwd=run._ROOT, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["frames"], row["attention"]) for row in rows] == [(1, "plain"), (1, "xla"), (4, "plain"), (4, "xla")]
    for row in rows:
        assert row["stage"] == "x" and row["waiting_ms"]["median"] > 0 and row["machine"]["device"] == "cpu: cpu"
        assert row["command"] == ABOUT["command"] and "failed" not in row


def test_a_stand_in_config_behaves_like_the_real_one():
    config = stand_in.ConfigDict({"a": 1, "inner": {"b": 2}})
    config.inner.c = {"d": 3}
    copy = config.copy_and_resolve_references()
    copy.inner.c.d = 4
    assert (config.inner["c"].d, copy.inner.c.d) == (3, 4) and config.to_dict()["inner"] == {"b": 2, "c": {"d": 3}}
    assert type(config.to_dict()["inner"]["c"]) is dict and not hasattr(config, "e")


def test_the_target_of_the_benchmark_moves_steadily(mite):
    tracker = Tracker(mite, tracking.steady_variables(mite), tracking.OPTIONS)
    frame = np.zeros((240, 320, 3), np.uint8)
    tracker.init(frame, tracking.BOX)
    for count in range(1, 5):
        box = tracker.update(frame).box
        expected = np.array(tracking.BOX) + [count * tracking.MOTION, 0, 0, 0]
        np.testing.assert_allclose(box, expected, rtol=0, atol=1e-3 * count)


def test_a_form_and_an_attention_can_be_forced(mite, monkeypatch):
    before, seen = platform.choices(), []
    spy = lambda *args: seen.append((platform.choices().folded, platform.choices().attention)) or {"waiting_ms": {}}
    monkeypatch.setattr(tracking, "_network", spy)
    monkeypatch.setattr(tracking.jax, "default_backend", lambda: "gpu")
    rows = list(tracking.forms(**{**QUICK, "quick": False}))
    assert platform.choices() == platform.BY_PLATFORM["gpu"]
    assert seen == [(row["folded"], (row["attention"],) * 2) for row in rows]
    tried = [(row["videos"], row["folded"], row["attention"]) for row in rows]
    folded = [(videos, True, way) for videos in (1, 64) for way in ("plain", "xla", "cudnn")]
    assert tried == [*folded[:3], (1, False, "plain"), *folded[3:], (64, False, "cudnn")]
    rows = list(tracking.flags(**QUICK))
    assert len(rows) == len(tracking.FLAGS) and [row["folded"] for row in rows[:3]] == [True, False, False]
    assert "WHILE" in rows[2]["flags"]["xla_gpu_enable_command_buffer"] and seen[-9:-6] == [
        (folded, platform.BY_PLATFORM["gpu"].attention) for folded in (True, False, False)
    ]
    monkeypatch.undo()
    assert platform.choices() == before
    with pytest.raises(ZeroDivisionError), tracking.forced(folded=True):
        assert platform.choices().folded
        raise ZeroDivisionError
    assert platform.choices() == before


def test_a_way_that_the_card_lacks_is_a_row(mite):
    lacks = lambda: jax.jit(lambda x: x).lower(1.0).compile(compiler_options={"xla_nonsense": 1})
    row = kernels.attempt({"flags": {"xla_nonsense": 1}}, lacks)
    assert row["flags"] and "No such compile option: 'xla_nonsense'" in row["failed"]


def test_tracking_is_measured(mite):
    update, network, empty = tracking.online(**QUICK, folded=True)
    assert update["folded"] and update["calls"] == 5 and update["median_ms"] <= update["p90_ms"]
    assert update["share_of_rate"] == pytest.approx(
        tracking.frame_flops(mite) * update["frames_per_second"] / QUICK["rate"], rel=0.01
    )
    assert {"waiting_ms", "queued_ms", "dispatch_ms"} <= network.keys() & empty.keys()


def test_lockstep_is_measured_part_by_part(mite, monkeypatch):
    class Lane:
        def __init__(self, model, variables, options, batch, chunk):
            assert (batch, chunk) == (2, 2)
            self.bytes_up = 0

        def run(self, videos):
            self.bytes_up += 4000
            failed = SimpleNamespace(sequence=videos[0], failure="gone")
            yield from [failed, *(SimpleNamespace(sequence=video, failure=None) for video in videos)]

    monkeypatch.setattr(tracking, "Lockstep", Lane)
    patches, whole, lane = tracking.lockstep(**QUICK)
    assert patches["kilobytes_a_frame"] < 0.5 * whole["kilobytes_a_frame"]
    assert whole["kilobytes_a_frame"] >= 480 * 640 * 3 / 1e3 and (lane["frames"], lane["kilobytes_a_frame"]) == (8, 0.5)
    assert {"filling_ms", "upload_ms", "device_ms"} <= patches.keys() & whole.keys()


def test_the_paths_of_the_rl_stage_are_compared_on_the_same_clips(mite, monkeypatch):
    paths = []
    updater = lambda model, config, variables, batch: paths.append(config.rl.path) or (lambda: 0.0, 2e9, 0.5)
    seconds = lambda updates, *_, **__: {path: [{"clip": 0.02, "frame": 0.05}[path]] * 3 for path in updates}
    monkeypatch.setattr(training, "updater", updater)
    monkeypatch.setattr(training.common, "times", seconds)
    rows = list(training.rl(**QUICK))
    assert [(row["clips"], row["path"]) for row in rows] == [(2, "clip"), (2, "frame"), (1, "clip"), (1, "frame")]
    assert paths == ["clip", "frame"] * 2 and rows[3]["clip_path_over_frame_path"] == 2.5
    assert rows[0]["share_of_rate"] == 10 and rows[0]["clips_per_second"] == 100 and rows[0]["peak_gib"] == 0.5


def test_cards_have_their_rate(monkeypatch):
    monkeypatch.setattr(kernels, "matmul_rate", lambda dtype: 7.7e14)
    about, copy = kernels.card("bfloat16", True)
    assert about["matmul_tflops"] == 770 and about["name"] == "cpu" and copy["copy_tb_per_second"] > 0
    assert plan.known([about]) == {"rate": 7.7e14} and plan.known([copy]) == {"rate": None}
    assert kernels.share(3.85e12, 0.01, 7.7e14) == 0.5 and kernels.share(1.0, 1.0, None) is None


def test_a_row_says_where_it_comes_from(monkeypatch):
    monkeypatch.setattr(kernels, "matmul_rate", lambda dtype: 7.7e14)
    row = next(measure.rows("kernels:card", {"dtype": "bfloat16", "quick": True, **ABOUT}))
    assert row["stage"] == "x" and row["benchmark"] == "device" and row["command"] == ABOUT["command"]
    assert {"machine", "versions", "commit", "date"} <= row.keys()
