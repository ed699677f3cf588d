"""Several processes, one run: how they find each other, stop at the same step, and fail together.

Each process (a host of a TPU pod, a GPU of a Slurm job) runs the same command; JAX joins their devices into one mesh.
They stand and fall together: a collective waits for ever for a process that is not there. So

- the signal to stop that one of them gets is known to all, and they agree on the step after which they save and end;
- a process that fails says so to the others through JAX's coordination service, and all end, each with that line;
- a process that vanished is noticed by the collective that misses it, at the latest by its missing heartbeat.
"""

import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
import time
import traceback
import zlib

import jax
import numpy as np
from jax._src.distributed import global_state  # the coordination service's client has no public name
from jax.experimental import multihost_utils

from relo_jax.errors import UserError

# Variables by which a launcher tells a process that it is one of several; none of them is set in a job's batch script.
_LAUNCHERS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}
_FAILED = "relo_jax/failed"  # key of the coordination service: what went wrong, and where
_SECONDS_TO_SAY = 1  # that a process has to say why it went, before it counts as lost
_SECONDS_TO_HEAR = 3  # that process 0, which runs the service, stays after a failure for the others to read of it
# What XLA, its collectives and the coordination service say when another process is gone.
_LOST = ("Gloo", "NCCL", "oordination", "UNAVAILABLE", "Connection reset", "Connection closed", "heartbeat", "Barrier")
_ending = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where the processes meet; all None where the cluster itself knows (TPU pods, GKE, Slurm, Open MPI)."""

    coordinator: str | None = None  # "host:port" of process 0
    count: int | None = None
    index: int | None = None


@contextlib.contextmanager
def joined(cluster):
    """What happens in here is done by all processes of a cluster together; None is this process alone.

    Raises:
      UserError: there is no cluster; or a launcher started several processes and nobody asked for a common run.
    """
    if cluster is None:
        _check_alone()
        yield
        return
    _join(cluster)
    if jax.default_backend() == "cpu":
        # jax 0.10.2: programs of several CPU devices that come out of the cache give other numbers.
        jax.config.update("jax_enable_compilation_cache", False)
    leaving = threading.Event()
    threading.Thread(target=_end_when_another_fails, args=(leaving,), daemon=True).start()
    with together():
        yield
    leaving.set()
    jax.distributed.shutdown()


def _check_alone():
    for name, launcher in _LAUNCHERS.items():
        if int(os.environ.get(name, "1")) > 1:
            raise UserError(
                f"{launcher} started {os.environ[name]} processes, each of which would do the whole run: add "
                "--distributed to make them one, or start one"
            )


def _join(cluster):
    given = (cluster.coordinator, cluster.count, cluster.index)
    try:
        jax.distributed.initialize(
            *given, cluster_detection_method=None if given == (None, None, None) else "deactivate"
        )
    except (ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"--distributed: the processes do not find each other ({reason}); TPU pods, GKE, Slurm and Open MPI are "
            "known by themselves, elsewhere give --coordinator=HOST:PORT --num_processes=N --process_id=I"
        ) from error


@contextlib.contextmanager
def together():
    """An error in here ends this process and all others, each with its line; alone, it is an error like any other."""
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        _fail(error)


def _fail(error):
    if isinstance(error, UserError):
        message = str(error)
    elif any(word in str(error) for word in _LOST):
        time.sleep(_SECONDS_TO_SAY)
        message = (
            f"another process is gone ({next(iter(str(error).splitlines()))}): start all of them again with the same "
            "command; the run goes on from its last checkpoint"
        )
    else:
        traceback.print_exception(error)
        message = f"{type(error).__name__}: {error}"
    message = f"process {jax.process_index()} of {jax.process_count()}: {message}"
    with contextlib.suppress(Exception):  # another one failed first, or there is no service any more
        global_state.client.key_value_set(_FAILED, message)
    _end(message)


def _end_when_another_fails(leaving):
    """A thread of every process."""
    while not leaving.is_set():
        try:
            message = global_state.client.blocking_key_value_get(_FAILED, 60_000)
        except Exception as error:  # nothing in a minute; or the service is gone, which JAX itself sees to
            if "DEADLINE_EXCEEDED" in str(error):
                continue
            return
        if not message.startswith(f"process {jax.process_index()} "):
            _end(message)
        return


def _end(message):
    """Prints a line and ends the process at once: an orderly end would wait for the others. The first call counts."""
    _ending.acquire()  # for good: what fails in another thread meanwhile fails because of the same thing
    print(f"relo: {message}", file=sys.stderr, flush=True)
    if jax.process_index() == 0:
        time.sleep(_SECONDS_TO_HEAR)
    sys.stdout.flush()
    os._exit(1)


def assert_same_on_hosts(what, value, advice):
    """Checks that all processes have the same value (JSON-able).

    Raises:
      UserError: they have not; on all of them.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(value, sort_keys=True)
    every = multihost_utils.process_allgather(np.asarray(zlib.crc32(text.encode()), np.uint32))
    if len(set(every.tolist())) > 1:
        raise UserError(f"the processes do not have the same {what}: {advice}")


@contextlib.contextmanager
def stop_on_signal():
    """`asked(step)`: whether SIGTERM or Ctrl-C wants the run to save and end after this step. Ask after every step.

    With several processes it is true on all of them at the same step, whichever got the signal: JAX's preemption
    service lets them agree on one that none has passed, without waiting for the device. Alone, a second signal has its
    usual effect.
    """
    stop = threading.Event()
    several = jax.process_count() > 1
    asked = multihost_utils.reached_preemption_sync_point if several else lambda step: stop.is_set()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    # JAX's own handler of SIGTERM tells the preemption service, and stays; Ctrl-C is passed on to it.
    signals = (signal.SIGINT,) if several else (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in signals}

    def on_signal(number, frame):
        stop.set()
        for each, handler in previous.items():
            signal.signal(each, handler)
        if several:
            os.kill(os.getpid(), signal.SIGTERM)

    for number in signals:
        signal.signal(number, on_signal)
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
