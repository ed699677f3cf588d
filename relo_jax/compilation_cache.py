"""XLA's compilation: programs kept on disk, for processes that start often, and its log."""

import os
import stat
import sys
from pathlib import Path

_ACCELERATORS = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/accel0", "/dev/vfio")


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs on disk, so that the second start of a command is quick.

    Call it before the first import of JAX: it sets environment variables. Variables that the user has set are kept.
    The cache stays off without a home directory, where others may write into its folder (they could put programs
    there), and when several CPU devices are simulated: with jax 0.10.2, such programs gave other losses after they
    were read back from disk.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if os.environ.get("JAX_NUM_CPU_DEVICES", "1") not in ("-1", "1"):
        return
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = cache_folder("compiled", "compiled programs")
        if folder is None:
            return
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


def cache_folder(name: str, what: str) -> Path | None:
    """The folder of that name in the user's cache, for `what`; None if there is none that belongs to the user alone."""
    try:
        above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = above / "relo_jax" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
    except (OSError, RuntimeError):  # no home directory, or one that cannot be written
        return None
    if hasattr(os, "geteuid") and (state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        print(f"relo: {folder} is not yours alone, so {what} are not kept: chmod go-w it", file=sys.stderr)
        return None
    return folder


def silence_compiler() -> None:
    """Keeps XLA's log off the terminal where there is only a CPU: errors reach Python as exceptions all the same.

    All that it would print is a red banner about slow compilation, after two minutes: a large network on few cores.
    `bars.compiling` says it in one line. Call it before the first import of JAX; a level that the user has set is kept.
    """
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not any(map(os.path.exists, _ACCELERATORS)):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
