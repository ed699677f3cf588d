"""One run of several processes: how they find each other, stop at the same step, and fail together.

Each process (a host of a TPU pod, a GPU of a Slurm job) runs the same command; JAX joins their devices into one mesh.
A collective waits forever for a missing process, so the processes must end together:

- if one receives a signal to stop, all agree on the step after which they save and end;
- if one fails, it tells the others through JAX's coordination service, and all end with its message;
- if one vanishes, the next collective fails, or at the latest its missing heartbeat is noticed.
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
from collections.abc import Iterator

import jax
import numpy as np
from jax._src.distributed import global_state  # the coordination service's client has no public name
from jax.experimental import multihost_utils

from relo_jax.errors import UserError

# Environment variables in which a launcher gives the number of processes. A job's batch script does not have them.
_LAUNCHERS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}
_FAILED = "relo_jax/failed"  # key of the coordination service for the message of the first failure
_SECONDS_TO_REPORT = 1  # time for a failed process to report why, before it counts as lost
_SECONDS_TO_READ = 3  # time for the others to read the failure before process 0, which runs the service, ends
# Words in the errors of XLA, its collectives and the coordination service when another process is gone.
_LOST = ("Gloo", "NCCL", "oordination", "UNAVAILABLE", "Connection reset", "Connection closed", "heartbeat", "Barrier")
_ending = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where the processes meet. All fields are None if JAX detects the cluster (TPU pods, GKE, Slurm, Open MPI)."""

    coordinator: str | None = None  # "host:port" of process 0
    count: int | None = None
    index: int | None = None


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[None]:
    """Joins the processes of a cluster for the block; None is this process alone.

    Raises:
      UserError: there is no cluster; or `cluster` is None, but a launcher started several processes.
    """
    if cluster is None:
        _check_alone()
        yield
        return
    _join(cluster)
    if jax.default_backend() == "cpu":
        # In jax 0.10.2, cached programs of several CPU devices give other numbers.
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
                "--distributed to make them one run, or start only one"
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
            "detected, elsewhere give --coordinator=HOST:PORT --num_processes=N --process_id=I"
        ) from error


@contextlib.contextmanager
def together() -> Iterator[None]:
    """An error in the block ends this process and all others with its message. A single process just raises it."""
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
        time.sleep(_SECONDS_TO_REPORT)
        message = (
            f"another process is gone ({next(iter(str(error).splitlines()))}): start all of them again with the same "
            "command; the run continues from its last checkpoint"
        )
    else:
        traceback.print_exception(error)
        message = f"{type(error).__name__}: {error}"
    message = f"process {jax.process_index()} of {jax.process_count()}: {message}"
    with contextlib.suppress(Exception):  # another process failed first, or the service is gone
        global_state.client.key_value_set(_FAILED, message)
    _end(message)


def _end_when_another_fails(leaving):
    """Waits for the failure of another process, in a thread of its own."""
    while not leaving.is_set():
        try:
            message = global_state.client.blocking_key_value_get(_FAILED, 60_000)
        except Exception as error:  # no failure within a minute; or the service is gone, which JAX handles
            if "DEADLINE_EXCEEDED" in str(error):
                continue
            return
        if not message.startswith(f"process {jax.process_index()} "):
            _end(message)
        return


def _end(message):
    """Prints the message and ends the process at once, as an orderly exit would wait for the others."""
    _ending.acquire()  # never released: later failures in other threads are consequences of the first
    print(f"relo: {message}", file=sys.stderr, flush=True)
    if jax.process_index() == 0:
        time.sleep(_SECONDS_TO_READ)
    sys.stdout.flush()
    os._exit(1)


def assert_same_on_hosts(what: str, value: object, advice: str) -> None:
    """Checks that all processes have the same value (JSON-able).

    Raises:
      UserError: they do not; raised on all of them. The message is made of `what` and `advice`.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(value, sort_keys=True)
    checksums = multihost_utils.process_allgather(np.asarray(zlib.crc32(text.encode()), np.uint32))
    if len(set(checksums.tolist())) > 1:
        raise UserError(f"the processes do not have the same {what}: {advice}")


class Stop:
    """Whether a run should save and end early: because of SIGTERM, Ctrl-C or a callback."""

    def __init__(self) -> None:
        self._several = jax.process_count() > 1
        self._event = threading.Event()

    def after(self, step: int) -> bool:
        """Whether to end after this step; to be called after every step.

        With several processes it is true on all of them at the same step, whichever received the signal: through JAX's
        preemption service they agree on a step that none has passed, without waiting for the device.
        """
        return multihost_utils.reached_preemption_sync_point(step) if self._several else self.now()

    def now(self) -> bool:
        """Whether to end without waiting for the end of a step. Never with several processes, which would disagree."""
        return self._event.is_set()

    def request(self) -> None:
        """Asks all processes to end."""
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._event.set()


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C request the Stop that this gives. In a single process, a second one has its usual effect."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # JAX's own handler of SIGTERM notifies the preemption service, and stays; Ctrl-C is passed on to it.
    signals = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in signals}

    def on_signal(*_):
        for number, handler in previous.items():
            signal.signal(number, handler)
        stop.request()

    for number in signals:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
