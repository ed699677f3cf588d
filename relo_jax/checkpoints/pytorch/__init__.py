"""The authors' PyTorch checkpoints, read without PyTorch."""
