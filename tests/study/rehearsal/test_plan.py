"""A rehearsal is planned for the devices and refused if it cannot be carried out."""

import collections
import dataclasses

import jax
import pytest

from relo_jax.errors import UserError
from relo_jax.study.rehearsal import plan as plans
from relo_jax.study.rehearsal.plan import clips_for, make_plan
from tests.study.rehearsal.small import FIELDS


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan("b256", tmp_path_factory.mktemp("rehearsal"), fields=FIELDS)


def test_it_has_the_papers_schedule_and_the_users_fields(plan):
    config = plan.config("warmup")
    assert (config.total_steps, config.batch_size, config.model.width) == (140_625, 64, 16)
    assert plan.config("rl").total_steps == 14_063 and plan.model().config.depth == 1
    assert plan.model_fields()[0] == "width=16" and len(plan.model_fields()) == 8


def test_the_release_preset_has_its_own_stages_and_data(plan):
    release = dataclasses.replace(plan, preset="release")
    assert release.config("rl").rl.normalize_advantage and not plan.config("rl").rl.normalize_advantage
    assert "vasttrack/train_release" in release.data_name("warmup") != plan.data_name("warmup")


def test_a_config_on_other_data_gets_the_papers(tmp_path):
    assert make_plan("tiny", tmp_path).data_name("rl") == "coco+got10k+lasot+trackingnet+vasttrack"


def test_an_accelerator_gets_the_releases_load_and_a_cpu_little(plan):
    assert clips_for(plan, 8, "gpu") == {"warmup": 64, "rl": 16}
    assert clips_for(plan, 1, "gpu") == {"warmup": 8, "rl": 2}
    assert clips_for(plan, 1, "cpu") == {"warmup": 1, "rl": 1}
    assert clips_for(plan, 8, "cpu") == {"warmup": 8, "rl": 8}
    assert clips_for(dataclasses.replace(plan, batch_size=32), 4, "gpu") == {"warmup": 32, "rl": 8}
    with pytest.raises(UserError, match="--batch-size is 6: give a multiple of the 4 devices"):
        clips_for(dataclasses.replace(plan, batch_size=6), 4, "gpu")


@pytest.mark.parametrize(
    "variant, options, message",
    [
        ("b265", {}, "unknown variant 'b265' .did you mean 'b256'"),
        ("b256", {"steps": 2}, "--steps is 2: give at least 3"),
        ("b256", {"batch_size": 0}, "--batch-size is 0"),
        ("b256", {"data_root": "nowhere"}, "--data-root nowhere: no such folder"),
        ("b256", {"fields": ("--config.batch_sice=3",)}, "has no field 'batch_sice'"),
        ("b256", {"workdir": "full"}, "exists already"),
        ("b256", {"workdir": "full/file/inside"}, "cannot be made"),
    ],
)
def test_what_cannot_be_rehearsed_is_one_line(tmp_path, monkeypatch, variant, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match=message) as error:
        make_plan(variant, **options)
    assert "\n" not in str(error.value) and [path.name for path in tmp_path.rglob("*")] == ["full", "file"]


def test_the_accelerators_are_left_to_the_commands_before_anything_is_computed(monkeypatch):
    """A process that computes on a GPU keeps most of its memory."""

    def stop():
        raise KeyboardInterrupt

    for computes in ("read_config", "sources"):
        monkeypatch.setattr(plans, computes, None)
    monkeypatch.setattr(plans, "leave_accelerators", stop)
    with pytest.raises(KeyboardInterrupt):
        make_plan("b256")
    monkeypatch.undo()
    plans.leave_accelerators()
    assert jax.config.jax_platforms == "cpu"


def test_a_disk_without_room_is_refused_before_anything_runs(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(plans.shutil, "disk_usage", lambda path: usage(5 * 2**30))
    with pytest.raises(UserError, match=r"no space left .* it needs 6\.\d GiB, 5\.0 are free"):
        make_plan("b256", tmp_path / "large")
    make_plan("b256", tmp_path / "small", fields=FIELDS)
