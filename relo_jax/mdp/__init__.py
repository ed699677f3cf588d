"""Localisation as a Markov decision process: actions, rewards, policy gradient (paper, Section 3.2)."""
