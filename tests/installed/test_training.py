"""`pip install "relo-jax[all]"`, outside of a checkout: training, evaluation and studies work."""

import json

STAGE = ["--config.total_steps=2", "--config.batch_size=2", "--config.rl.clip_length=2", "--config.eval_every=2",
         "--config.eval_batches=1", "--config.init_from=starter-warmup"]  # fmt: skip


def test_a_config_by_name_trains_and_its_run_is_evaluated(run, tmp_path):
    run("relo", "train", "--config", "tiny:rl", "--workdir", "run", *STAGE, "--config.optimizer.warmup_steps=1")
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    run("relo", "eval", "--checkpoint", "run", "--dataset", "procedural", "--count", "1", "--out", "results")
    assert (tmp_path / "results" / "success.png").exists()


def test_a_study_needs_no_checkout(run, tmp_path):
    run("relo", "study", "closed_loop", "--seeds", "1", "--scale", "0.02", "--workdir", "studies")
    assert list((tmp_path / "studies").rglob("*.md"))


def test_a_config_prints_in_python(run):
    code = "import relo_jax; print(relo_jax.get_config('tiny:rl', total_steps=200))"
    assert "14063" in run("python", "-c", code).stdout
