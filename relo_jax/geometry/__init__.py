"""Boxes and crops: pure functions of numbers, in NumPy or JAX."""
