"""Datasets built into shards of records (TFDS, ArrayRecord), and read back a frame at a time."""
