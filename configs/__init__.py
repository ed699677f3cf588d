"""The config files, installed as `relo_jax_configs`: `--config b256:rl` is the stage `rl` of `relo_b256.py` here."""
