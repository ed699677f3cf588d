"""Result files: written by us, read from any tracker, checked, packed for evaluation servers."""
