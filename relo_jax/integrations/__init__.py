"""RELO in other people's toolkits: VOT's (`vot.py`) and GOT-10k's (`got10k.py`).

A toolkit is imported by its own module here and nowhere else; `pip install 'relo-jax[vot]'` or `'relo-jax[got10k]'`
brings it. How to run them is in docs/toolkits.md.
"""
