"""LaSOT_ext for TFDS, built by `TrackingBuilder`."""

from relo_jax.data.records.tfds import TrackingBuilder, download_instructions


class Builder(TrackingBuilder):
    """LaSOT_ext, from the folders that its authors publish."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = download_instructions("lasot_ext")
