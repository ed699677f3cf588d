"""Procedural clips drawn by JAX on the device that trains: scenes, their pictures and boxes as functions of a key."""
