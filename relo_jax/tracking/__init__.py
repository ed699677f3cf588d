"""Tracking: a video's first box in, a box a frame out."""
