"""Training: the warm-up of encoder and boxes, and the RL stage of policy and value (paper, Section 3.3)."""
