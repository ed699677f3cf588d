"""The log of a run: one row a step, however often the run was killed."""

import json

from relo_jax.train import metrics_log


def test_the_curve_of_a_continued_run_has_each_step_only_once(tmp_path):
    lines = [json.dumps({"step": step, "split": "train", "loss": 1.0}) for step in (2, 4, 6)]
    (tmp_path / metrics_log.METRICS_FILE).write_text("\n".join(lines) + '\n{"step": 8, "spl')
    with metrics_log.opened(tmp_path, "warmup", 4, 10, 8) as logger:
        logger.advance()
        logger.train(6, {"loss": 2.0})
    assert [(row["step"], row["loss"]) for row in metrics_log.read_metrics(tmp_path)] == [(2, 1.0), (4, 1.0), (6, 2.0)]
