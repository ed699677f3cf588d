"""Compiled programs on the disk: what a process that starts often (a command, a benchmark's tracker) need not redo."""

import os
from pathlib import Path


def keep_compiled_programs():
    """Keeps what XLA compiled on the disk, so that the second start of a command is quick.

    By environment variables, before JAX is imported; a user's own settings of them count. Not for simulated devices:
    with jax 0.10.2, programs of several CPU devices that were read back from the disk gave other losses.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if os.environ.get("JAX_NUM_CPU_DEVICES", "1") not in ("-1", "1"):
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relo_jax" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
