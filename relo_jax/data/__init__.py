"""From sequences (whole videos with boxes) to batches of clips: sources, sampling, augmentation, the Grain pipeline."""
