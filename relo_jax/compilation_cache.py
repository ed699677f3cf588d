"""XLA's compilation cache on disk, for processes that start often (commands, the VOT toolkit's tracker process)."""

import os
from pathlib import Path


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs on disk, so that the second start of a command is quick.

    Call it before the first import of JAX: it sets environment variables. Variables that the user has set are kept.
    The cache stays off when several CPU devices are simulated: with jax 0.10.2, such programs gave other losses after
    they were read back from disk.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if os.environ.get("JAX_NUM_CPU_DEVICES", "1") not in ("-1", "1"):
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relo_jax" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
