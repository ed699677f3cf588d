"""Evaluation: sequences x tracker -> result files, metrics, plots and the demo's report."""
