"""Data: sequences from official datasets, built records or synthetic scenes, and the clips that training reads."""
