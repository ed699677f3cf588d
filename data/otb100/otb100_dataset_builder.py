"""OTB-100 for TFDS, built by `TrackingBuilder`."""

from relo_jax.data.records.tfds import TrackingBuilder, download_instructions


class Builder(TrackingBuilder):
    """OTB-100, from the folders that its authors publish."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = download_instructions("otb100")
