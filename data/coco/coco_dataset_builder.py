"""COCO 2017 for TFDS: its configs and records are those of relo_jax/data/records/tfds.py."""

from relo_jax.data.records.tfds import TrackingBuilder, download_instructions


class Builder(TrackingBuilder):
    """COCO 2017, from the folders that its authors hand out."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = download_instructions("coco")
