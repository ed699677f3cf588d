"""`relo eval`: the table, the exit, and where the data and the results are."""

import json
from pathlib import Path

import pytest

from relo_jax import config as relo_config
from relo_jax.checkpoints import load as checkpoint
from relo_jax.checkpoints.pytorch import convert
from relo_jax.data import miniature
from relo_jax.errors import UserError
from relo_jax.eval import benchmarks, runner
from relo_jax.model import RELO
from tests import command
from tests.config.configs import CONFIGS
from tests.golden import FIELDS


@pytest.fixture
def loaded(fixtures, tmp_path, monkeypatch):
    """A small model in the place of every checkpoint, and an empty folder to work in."""
    model = RELO.from_variant("tiny", **FIELDS)
    loaded = checkpoint.Loaded(model, convert.from_torch(fixtures / "relo_tiny.pth.tar", model), {"tracker": {}})
    monkeypatch.setattr(runner.checkpoints, "load", lambda path, dtype: loaded)
    monkeypatch.chdir(tmp_path)
    return loaded


@pytest.fixture
def small(tmp_path):
    """Two sequences, of 2 and 6 frames."""
    for name, frames in (("pair", 2), ("tall", 6)):
        boxes = miniature.walk(frames)
        miniature.write_frames(tmp_path / "small" / name, boxes, "{:04d}.jpg")
        (tmp_path / "small" / name / "groundtruth.txt").write_text(miniature.lines(boxes))
    return tmp_path / "small"


def test_it_prints_the_table_and_fails_if_a_sequence_does(loaded, small, capsys):
    image = small / "tall" / "0003.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:50])
    with pytest.raises(UserError, match="1 of 2 sequences failed, the first: tall: frame 2: .*0003.jpg"):
        command.run("eval", "--checkpoint=runs/demo", "--data-root", small, "--batch=1")
    printed = capsys.readouterr().out
    assert "mean of 1" in printed and "tall  " in printed and "written to results/demo/small" in printed
    image.write_bytes(whole)
    command.run("eval", "--checkpoint=runs/demo", "--data-root", small, "--batch=1")  # runs the one that failed
    assert "mean of 2" in capsys.readouterr().out
    assert sorted(p.name for p in Path("results/demo/small").glob("*.txt")) == [
        "pair.txt", "pair_score.txt", "pair_time.txt", "tall.txt", "tall_score.txt", "tall_time.txt",
    ]  # fmt: skip


def test_a_broken_sequence_of_a_folder_is_in_the_exit_after_the_others_are_evaluated(loaded, small, capsys):
    (small / "tall" / "groundtruth.txt").write_text("1,2,3,4\n")
    message = "^1 of 2 sequences could not be opened, the first: .*tall/groundtruth.txt: has 1 boxes for 6 frames"
    with pytest.raises(UserError, match=message):
        command.run("eval", "--checkpoint=runs/demo", "--data-root", small)
    printed = capsys.readouterr().out
    assert "mean of 1" in printed and "written to results/demo/small" in printed


CONFIG = f"""
from relo_jax import config as relo_config

def get_config(stage):
    config = relo_config.evaluation("tiny", checkpoint="runs/demo", datasets="folder")
    config.model.update({FIELDS})
    config.benchmarks.nfs.window_power = 4.0
    return config
"""


@pytest.fixture
def config_file(tmp_path):
    """A config of the small model, with an option for one dataset."""
    file = tmp_path / "mine.py"
    file.write_text(CONFIG)
    return f"{file}:eval"


def test_a_config_flags_and_the_saved_config_give_equal_files(loaded, small, config_file, monkeypatch):
    for name in ("success_plot", "precision_plot"):  # half a second each
        monkeypatch.setattr(runner.plots, name, lambda *values: None)
    fields = ["data.root=small", "eval.batch=1", "tracker.window_power=0.5", "eval.out=by-config"]
    command.run("eval", "--config", config_file, *(f"--config.{field}" for field in fields))
    flags = ["--data-root=small", "--batch=1", "--window-power=0.5", "--out=by-flags"]
    command.run("eval", "--checkpoint=runs/demo", *flags)
    command.run("eval", "--config=by-flags/config.json", "--out=again")
    folders = [Path(name) for name in ("by-config", "by-flags", "again")]
    names = [f"{name}{suffix}" for name in ("pair", "tall") for suffix in (".txt", "_score.txt")]
    for name in [*names, "run.json"]:
        assert len({(folder / name).read_bytes() for folder in folders}) == 1, name
    configs = [json.loads((folder / "config.json").read_text()) for folder in folders]
    assert [config["eval"].pop("out") for config in configs] == [folder.name for folder in folders]
    assert configs[1] == configs[2] and configs[0]["benchmarks"].pop("nfs") and configs[1]["benchmarks"].pop("nfs")
    assert configs[0] == configs[1] and configs[0]["tracker"]["window_power"] == 0.5
    means = [json.loads((folder / "summary.json").read_text())["mean"] for folder in folders]
    assert means[0] == means[1] == means[2] and 0 < means[0]["auc"] < 1


def resolved(*argv):
    """The config that `relo eval ARGV` prints."""
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", printed.append)
        command.run("eval", *argv, "--print-config")
    return relo_config.evaluation_from_dict(json.loads(printed[0]))


def test_every_flag_is_short_for_a_field(config_file):
    flags = ["--checkpoint=c", "--dataset=got10k", "--split=val", "--data-root=d", "--one-based", "--count=3"]
    flags += ["--seed=4", "--out=o", "--batch=5", "--rules=lasot", "--release-files", "--dtype=bfloat16"]
    flags += ["--window-power=6", "--update-interval=7", "--update-threshold=-8"]
    fields = {
        "eval.checkpoint": "c", "eval.datasets": "got10k/val", "data.root": "d", "data.one_based": True,
        "eval.count": 3, "eval.seed": 4, "eval.out": "o", "eval.batch": 5, "eval.rules": "lasot",
        "eval.release_files": True, "model.dtype": "bfloat16", "tracker.window_power": 6.0,
        "tracker.update_interval": 7, "tracker.update_threshold": -8.0,
    }  # fmt: skip
    by_fields = [f"--config.{name}={value}" for name, value in fields.items()]
    configs = [relo_config.flatten(resolved("--config", config_file, *given)) for given in (flags, by_fields)]
    assert configs[0] == configs[1] and fields.items() <= configs[0].items()
    assert configs[0]["model.depth"] == FIELDS["depth"] and configs[0]["model.head_width"] == FIELDS["head_width"]
    default = relo_config.flatten(resolved("--data-root=d"))
    assert default == relo_config.flatten(relo_config.evaluation(checkpoint="starter", datasets="folder")) | {
        "data.root": "d"
    }


def test_an_option_on_the_command_line_is_for_every_dataset(config_file):
    file = ["--config", config_file, "--dataset=nfs"]
    assert resolved(*file).benchmarks.nfs.window_power == 4.0
    for option in ("--window-power=2", "--config.tracker.window_power=2"):
        config = resolved(*file, option)
        assert config.tracker.window_power == 2.0 and config.benchmarks.nfs.window_power is None
    with pytest.raises(UserError, match="config.benchmarks.nfs.window_power is 3: leave one"):
        resolved(*file, "--window-power=2", "--config.benchmarks.nfs.window_power=3")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batch=4", "--config.eval.batch=5"], "--batch 4 and --config.eval.batch=5 contradict each other"),
        (["--dataset=got10k/val", "--split=train"], "--split train and the dataset got10k/val contradict each other"),
        (["--dataset=lasot+nfs", "--split=test"], "name the split of each, such as lasot/train"),
        (["--config.eval.btch=5"], "did you mean 'eval.batch'"),
        (["--config.batch_size=5"], "config has no field 'batch_size': it is one of training"),
        (["--config=configs/relo_tiny.py:warmup"], "relo_tiny.py:warmup is of stage 'warmup': give NAME:eval, or"),
        (["--config=run.json"], "run.json is of stage 'rl': give NAME:eval, or the config.json beside results"),
        (["--config=cut.json"], "cut.json cannot be read as a config"),
        (["--config=list.json"], "list.json is not a config"),
        (["--config=none.json"], "none.json does not exist"),
        (["--config=old.json"], r"old.json has no field 'eval.rulse': did you mean 'eval.rules'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(argv, message, tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text(json.dumps(relo_config.to_dict(relo_config.paper("rl"))))
    (tmp_path / "cut.json").write_text('{"eval": {')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "old.json").write_text('{"eval": {"rulse": "plain"}}')
    (tmp_path / "configs").symlink_to(CONFIGS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        command.run("eval", *argv)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["-1", "-0.5", "-.25", "-2e1"])
def test_a_negative_number_may_stand_apart_from_its_field(value):
    config = resolved("--config.tracker.update_threshold", value, "--config.eval.batch", "2")
    assert (config.tracker.update_threshold, config.eval.batch) == (float(value), 2)


def test_the_same_value_as_a_flag_and_as_a_field_is_no_contradiction():
    assert resolved("--batch=5", "--config.eval.batch=5").eval.batch == 5


def test_a_checkpoint_of_another_depth_is_refused(loaded, small):
    config = f"--config={CONFIGS / 'relo_tiny.py'}:eval"
    with pytest.raises(
        UserError, match=r"another network than the config of tiny: depth 3 \(config: 6\), .*, width 96"
    ):
        command.run("eval", config, "--checkpoint=runs/demo", "--dataset=folder", "--data-root=small")
    assert not Path("results").exists()


def test_a_folder_without_a_sequence_that_can_be_read_stops_it_before_anything_is_written(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in small.iterdir():
        next(folder.rglob("*.jpg")).unlink()
    with pytest.raises(UserError, match="no sequence can be read; the last: .* boxes for .* frames"):
        command.run("eval", "--data-root", small)
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


def test_it_evaluates_held_out_procedural_sequences(loaded, monkeypatch):
    asked = []
    monkeypatch.setattr(benchmarks, "heldout", lambda seed, count, options: asked.append((seed, count)) or "abc")
    monkeypatch.setattr(runner, "evaluate", lambda *args, **options: asked.append(args) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.run("eval", "--checkpoint=runs/demo/checkpoints/500", "--dataset=procedural", "--count=3", "--seed=7")
    seeds, (benchmark, tracker, out) = asked
    assert seeds == (7, 3) and "".join(benchmark) == "abc" and tracker is loaded
    assert out == Path("results") / "demo-500" / "procedural-7"


def test_the_data_root_may_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RELO_DATA_DIR", raising=False)
    with pytest.raises(UserError, match="--data-root"):
        command.run("eval")
    monkeypatch.setenv("RELO_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere: no such folder"):
        command.run("eval")
