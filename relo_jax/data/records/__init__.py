"""Datasets built into shards of records (TFDS, ArrayRecord), and read back one frame at a time."""
