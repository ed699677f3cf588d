"""Evaluation by a config: several datasets in a row, each with its options, and the config beside the results.

The tracker of these tests knows the truth; tests/commands/test_eval.py runs a real one.
"""

import dataclasses
import json

import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints import model_card
from relo_jax.data import miniature
from relo_jax.data.datasets import layouts
from relo_jax.errors import UserError
from relo_jax.eval import by_config, runner
from relo_jax.eval.benchmarks import Benchmark
from relo_jax.model import RELO
from tests.eval.test_evaluation import Oracle


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with LaSOT and NFS in miniature."""
    root = tmp_path_factory.mktemp("datasets")
    for name in ("lasot", "nfs"):
        miniature.MAKERS[name](root / layouts.dataset_layout(name).folders[0])
    return root


@pytest.fixture
def evaluate(root, tmp_path, monkeypatch):
    """Evaluates a B256 that knows the truth with fields of the config replaced; returns the config."""
    tracker = {"window_power": 9.0, "score_bias": -2.0}
    loaded = checkpoint.Loaded(RELO.from_variant("b256"), {"params": {}}, {"tracker": tracker})
    monkeypatch.setattr(runner, "Lockstep", Oracle)
    monkeypatch.setattr(by_config.checkpoints, "load_tracker", lambda path, dtype: loaded)
    monkeypatch.setattr(model_card, "of_checkpoint", lambda path: {"kind": "none"})
    for name in ("success_plot", "precision_plot"):  # half a second each
        monkeypatch.setattr(runner.plots, name, lambda *values: None)
    monkeypatch.chdir(tmp_path)

    def run(datasets, config=None, **fields):
        config = config or relo_config.evaluation("b256", checkpoint="runs/b256", datasets=datasets)
        config.data.root = str(root)
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
        by_config.evaluate_by_config(config)
        return config

    return run


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def saved(folder):
    return relo_config.evaluation_from_dict(json.loads((folder / "config.json").read_text()))


def test_datasets_are_evaluated_in_a_row_and_a_missing_one_is_named_at_the_end(evaluate, tmp_path, capsys):
    with pytest.raises(UserError, match="^1 of 3 datasets are missing or incomplete: uav123: .* no data_seq/UAV123"):
        evaluate("uav123+lasot+nfs", eval__out="out")
    printed, reported = capsys.readouterr()
    assert reported.startswith("uav123: ")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"lasot", "nfs", "config.json"}
    head, absent, lasot, nfs = printed.split("\n\n")[-1].splitlines()
    assert head.split() == ["dataset", "sequences", "frames/s"]
    assert absent.startswith("uav123 ") and "not evaluated: " in absent and "no data_seq/UAV123" in absent
    for line, name in ((lasot, "LaSOT test"), (nfs, "NFS test")):
        numbers = summary_of(tmp_path / "out" / name.split()[0].lower())
        means, whole = numbers["mean"], numbers["as_published"]["auc"]
        text = f"AUC {means['auc']:.3f}  P20 {means['p20']:.3f}  NP20 {means['np20']:.3f}"
        assert line.startswith(name) and f"{text}  (as published: AUC {whole:.3f})" in line
    assert lasot.split()[2:6] == ["2", "of", "280", "100.0"]


def test_a_dataset_that_cannot_be_evaluated_does_not_stop_the_others(evaluate, tmp_path, capsys):
    (tmp_path / "out" / "lasot").mkdir(parents=True)
    (tmp_path / "out" / "lasot" / "notes.txt").write_text("no results")
    with pytest.raises(UserError, match="1 of 2 datasets .*: lasot: out/lasot exists and is not a folder of results"):
        evaluate("lasot+nfs", eval__out="out")
    assert "mean" in summary_of(tmp_path / "out" / "nfs")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("lasot "))
    assert line.split()[1:5] == ["-", "-", "not", "evaluated:"] and "out/lasot exists" in line


def test_sequences_that_fail_are_counted_at_the_end(evaluate, tmp_path, monkeypatch):
    class Failing(Oracle):
        def run(self, sequences, advance):
            for tracked in super().run(sequences, advance):
                failure = "frame 3: no image" if tracked.sequence.name == "bee" else None
                yield dataclasses.replace(tracked, failure=failure)

    monkeypatch.setattr(runner, "Lockstep", Failing)
    with pytest.raises(UserError, match="1 of 2 .* incomplete: nfs: 1 of 3 sequences failed, the first: bee: frame 3"):
        evaluate("nfs+lasot")
    assert len(summary_of(tmp_path / "results" / "b256" / "nfs")["sequences"]) == 2


def test_broken_sequences_of_a_dataset_are_counted_at_the_end_and_absent_ones_are_not(evaluate, tmp_path, monkeypatch):
    miniature.lasot(tmp_path / "data" / "LaSOT")
    (tmp_path / "data" / "LaSOT" / "bear" / "bear-2" / "groundtruth.txt").write_text("1,2,3\n")
    monkeypatch.setattr(by_config, "_settings", lambda *args: (tmp_path / "data", False, None, None))
    with pytest.raises(
        UserError, match="^1 of 2 sequences could not be opened, the first: bear/bear-2/groundtruth.txt: "
    ):
        evaluate("lasot")
    miniature.lasot(tmp_path / "data" / "LaSOT")
    evaluate("lasot", eval__out="whole")
    assert summary_of(tmp_path / "whole")["benchmark"]["missing"] == 278


def test_where_no_dataset_is_there_nothing_is_loaded(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(by_config.checkpoints, "load_tracker", None)
    with pytest.raises(UserError, match="none of uav123.tnl2k can be evaluated; uav123: "):
        evaluate("uav123+tnl2k")
    with pytest.raises(UserError, match="^[^;]*no data_seq/UAV123"):
        evaluate("uav123")
    assert not list(tmp_path.iterdir())


def test_an_open_option_is_the_published_one_and_a_given_one_comes_first(evaluate, tmp_path):
    evaluate("lasot+nfs", benchmarks__nfs__window_power=2.5, tracker__update_threshold=7.0)
    lasot, nfs = (summary_of(tmp_path / "results" / "b256" / name) for name in ("lasot", "nfs"))
    assert (lasot["options"]["window_power"], nfs["options"]["window_power"]) == (3.0, 2.5)
    assert lasot["options_from"]["window_power"] == "published for b256 on lasot"
    assert nfs["options_from"]["window_power"] == lasot["options_from"]["update_threshold"] == "given"
    assert lasot["options"]["score_bias"] == -2.0 and lasot["options_from"]["score_bias"] == "checkpoint"
    evaluate("lasot", tracker__window_power=1.5, eval__out="given")
    assert summary_of(tmp_path / "given")["options"]["window_power"] == 1.5


def test_the_config_beside_results_has_every_value_in_place(evaluate, tmp_path, root, monkeypatch):
    monkeypatch.setenv("RELO_DATA_DIR", str(root))
    evaluate("nfs+lasot", eval__out="out", eval__batch=3)
    both, nfs = saved(tmp_path / "out"), saved(tmp_path / "out" / "nfs")
    assert both.eval.datasets == "nfs+lasot" and both.benchmarks.nfs.window_power is None
    assert (nfs.eval.datasets, nfs.eval.out, nfs.eval.batch, nfs.data.root) == ("nfs", "out/nfs", 3, str(root))
    assert (nfs.model.variant, nfs.model.depth, nfs.model.dtype) == ("b256", 24, "float32")
    options = dict(nfs.benchmarks.nfs) | {name: v for name, v in nfs.tracker.items() if v is not None}
    used = summary_of(tmp_path / "out" / "nfs")["options"]
    of_no_result = ("found_threshold", "found_frames")
    assert options == {name: value for name, value in used.items() if name not in of_no_result}
    evaluate(None, nfs)  # nothing is left to do: it is the same evaluation
    with pytest.raises(UserError, match="out/nfs has results on nfs: name another folder for lasot with --out"):
        evaluate(None, nfs, eval__datasets="lasot")
    evaluate(None, nfs, eval__datasets="lasot", eval__out="elsewhere")  # its own published options
    assert summary_of(tmp_path / "elsewhere")["options"]["window_power"] == 3.0
    assert summary_of(tmp_path / "elsewhere")["options_from"]["window_power"] == "published for b256 on lasot"


def test_an_evaluation_from_before_there_were_configs_continues(evaluate, tmp_path, monkeypatch):
    evaluate("nfs", eval__out="out")
    before = (tmp_path / "out" / "config.json").read_bytes()
    (tmp_path / "out" / "config.json").unlink()
    monkeypatch.setattr(runner, "Lockstep", None)  # there is nothing to run
    evaluate("nfs", eval__out="out")
    assert (tmp_path / "out" / "config.json").read_bytes() == before
    evaluate("nfs/test", eval__out="out")  # the split that papers report needs no name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variant": "t256"}, "runs/b256 is of variant 'b256', and config.model.variant is 't256'"),
        (
            {"variant": None, "depth": 20},
            r"runs/b256 has another network than the config: depth 24 \(config: 20\); .* set --config.model.depth=24$",
        ),
        (
            {"stem_blocks": (1, 1)},
            r"stem_blocks \[3, 3\] \(config: \[1, 1\]\); .*--config.model.stem_blocks='\(3, 3\)'",
        ),
        (
            {"localizer": "heatmap", "heads": 4},
            r"config of b256: heads 8 \(config: 4\), localizer policy \(config: heatm",
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(fields, message, evaluate, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        evaluate("nfs", **{f"model__{name}": value for name, value in fields.items()})
    assert "\n" not in str(error.value) and not (tmp_path / "results").exists()


def test_a_checkpoint_of_the_variant_but_another_depth_is_refused():
    loaded = checkpoint.Loaded(RELO.from_variant("b256", depth=20), {}, {})
    config = relo_config.evaluation("b256", checkpoint="runs/b256")
    with pytest.raises(
        UserError, match=r"runs/b256 has .* config of b256: depth 20 \(config: 24\); if .* set --config"
    ):
        by_config.check_network(config, loaded)
    config.model.depth = 20
    by_config.check_network(config, loaded)
    config.model.dtype = "bfloat16"  # replaces the checkpoint's
    by_config.check_network(config, loaded)


def test_a_setting_goes_to_the_datasets_that_take_it(evaluate, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        by_config, "open_benchmark", lambda *args, **more: asked.append((*args, *more.values())) or 1 / 0
    )
    for datasets, fields in (("lasot", {}), ("procedural", {}), ("got10k/val", {"data__one_based": True})):
        with pytest.raises(ZeroDivisionError):
            evaluate(datasets, eval__seed=7, data__root="/data", **fields)
    assert asked == [  # what does not apply is passed on and refused there
        ("lasot", "/data", None, False, None, 7),
        ("procedural", "/data", None, False, None, 7),
        ("got10k", "/data", "val", True, None, 7),
    ]  # fmt: skip
    config = relo_config.evaluation(datasets="procedural+folder+nfs")
    config.update_from_flattened_dict({"data.root": "/data", "data.one_based": True, "eval.count": 2})
    names = {"procedural", "folder", "nfs"}
    assert by_config._settings(config, "procedural", names) == (None, False, 2, None)
    assert by_config._settings(config, "folder", names) == ("/data", True, None, None)
    assert by_config._settings(config, "nfs", names) == ("/data", False, None, None)


def test_two_datasets_with_one_folder_are_refused():
    config = relo_config.evaluation(checkpoint="starter", datasets="lasot+folder")
    lasot = by_config.Dataset("lasot", "lasot", Benchmark("lasot", "test", "LaSOT test", ()))
    folder = by_config.Dataset("folder", "folder", Benchmark("folder", None, "lasot", ()))
    with pytest.raises(UserError, match="two datasets would be in results/starter/lasot: evaluate folder by itself"):
        by_config._folders(config, [lasot, folder])
