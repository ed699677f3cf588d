"""Sequences that are drawn: textures, objects, motion, scenes; and those cut out of photographs."""
