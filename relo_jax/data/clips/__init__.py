"""From sequences to batches of clips: plans, reading, augmentation, the Grain pipeline."""
