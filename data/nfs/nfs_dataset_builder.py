"""NFS for TFDS, built by `TrackingBuilder`."""

from relo_jax.data.records.tfds import TrackingBuilder, download_instructions


class Builder(TrackingBuilder):
    """NFS, from the folders that its authors publish."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = download_instructions("nfs")
