"""RELO in other people's toolkits: VOT's (`vot.py`) and GOT-10k's (`got10k.py`).

Only its own module here imports a toolkit; `pip install 'relo-jax[vot]'` or `'relo-jax[got10k]'` installs it. See
docs/toolkits.md.
"""
