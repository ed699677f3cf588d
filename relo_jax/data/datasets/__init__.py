"""Datasets on disk: official layouts, the index of their annotations, checks and statistics."""
