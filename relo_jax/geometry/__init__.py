"""Boxes and crops: pure functions that take NumPy or JAX arrays."""
