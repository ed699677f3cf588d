"""Checkpoints: run directories, model cards, the starter, and the authors' PyTorch files."""
