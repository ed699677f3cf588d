"""From sequences to batches of clips: plans, reading, augmentation, failures, and the Grain pipeline."""
