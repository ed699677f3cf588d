"""Training: the warm-up of encoder and box head, and the RL stage of policy and value (paper, Section 3.3)."""
