"""Synthetic sequences: textures, objects, motion and scenes; and sequences composed from photographs."""
