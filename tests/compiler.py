"""XLA's flags with which tests compile quickly; JAX is not imported, so that they are set before it starts."""

import os
from importlib.metadata import version

# Compilation is most of the suite's time, and the programs run for a moment only: the compiler need not optimise, its
# older emitter of fused loops takes a quarter of the time, and other workers use the other cores.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 tests the programs that users run.
IS_QUICK = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
# A later XLA has no older emitter, and ends the process at a flag that it does not know.
_HAS_BOTH_EMITTERS = tuple(map(int, version("jaxlib").split(".")[:2])) <= (0, 10)
_OLDER_EMITTER = "--xla_cpu_use_fusion_emitters=false " if _HAS_BOTH_EMITTERS else ""
FLAGS = f"{_OLDER_EMITTER}--xla_cpu_parallel_codegen_split_count=1" if IS_QUICK else ""
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
