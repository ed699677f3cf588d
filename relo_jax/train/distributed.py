"""One run of several processes: how they find each other, stop at the same step, and fail together.

Each process (a host of a TPU pod, a GPU of a Slurm job) runs the same command; JAX joins their devices into one mesh.
A collective waits forever for a missing process, so the processes must end together:

- if one receives a signal to stop, all agree on the step after which they save and end;
- if one fails, it tells the others, and all end with its message;
- if one vanishes, the others end with a line that names it (`relo_jax.train.watch`).
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
from jax._src.clusters import ClusterEnv  # has no public name
from jax.experimental import multihost_utils

from relo_jax.bars import tqdm
from relo_jax.errors import UserError, in_one_line
from relo_jax.train import watch

# Environment variables in which a launcher gives the number of processes. A job's batch script does not have them.
_LAUNCHERS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}
_SECONDS_TO_MEET = 300
_SECONDS_TO_NAME = 90  # time for the watch to name the process without which this one failed
# Words in the errors of XLA, its collectives and the coordination service when another process is gone.
_LOST = ("Gloo", "NCCL", "oordination", "UNAVAILABLE", "Connection reset", "Connection closed", "heartbeat", "Barrier")
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # as gRPC reads them
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
_ending = threading.Lock()
_watch: watch.Watch | None = None  # of this process, while it is one of several


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
    global _watch
    address, count, index, devices = _found(cluster)
    _watch = watch.Watch(address, count, index, _end)
    with together():
        _join(_watch, devices)
        if jax.default_backend() == "cpu":
            # In jax 0.10.2, cached programs of several CPU devices give other numbers.
            jax.config.update("jax_enable_compilation_cache", False)
        yield
        jax.distributed.shutdown()
    _watch.leave()
    _watch = None


def _check_alone():
    for name, launcher in _LAUNCHERS.items():
        if int(os.environ.get(name, "1")) > 1:
            raise UserError(
                f"{launcher} started {os.environ[name]} processes, each of which would do the whole run: add "
                "--distributed to make them one run, or start only one"
            )


def _found(cluster):
    """Address of process 0, number of processes, index of this one, and its devices; the last is None for all."""
    given = (cluster.coordinator, cluster.count, cluster.index, None)
    try:
        if None in given[:3]:
            address = os.environ.get("JAX_COORDINATOR_ADDRESS")
            given = ClusterEnv.auto_detect_unset_distributed_params(address, None, None, None, None, _SECONDS_TO_MEET)
        if None in given[:3]:
            raise ValueError("no cluster was detected")
        if not given[0].rpartition(":")[2].isdigit():
            raise ValueError(f"{given[0]} has no port")
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"--distributed: the processes do not find each other ({in_one_line(error)}); TPU pods, GKE, Slurm and "
            "Open MPI are detected, elsewhere give --coordinator=HOST:PORT --num_processes=N --process_id=I"
        ) from error
    return given


def _join(watch, devices):
    """Joins the processes by JAX, over the connections of the watch."""
    if any(name in os.environ for name in _PROXIES):  # gRPC would look for the local end of the connections behind it
        given = next((os.environ[name] for name in _NO_PROXIES if os.environ.get(name)), "")
        os.environ["no_grpc_proxy"] = ",".join(filter(None, (given, "127.0.0.1")))
    jax.config.update("jax_enable_preemption_service", False)  # see `relo_jax.train.last_step`
    jax.distributed.initialize(
        watch.service, watch.count, watch.index, devices, "deactivate",
        initialization_timeout=2 * _SECONDS_TO_MEET,  # the watch says who is missing before
        coordinator_bind_address=watch.service,
    )  # fmt: skip
    watch.met()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """An error in the block ends this process and all others with its message. A single process just raises it."""
    try:
        yield
    except BaseException as error:
        if _watch is None or _watch.count == 1:
            raise
        _fail(error, _watch)


def _fail(error, watch_):
    status = 1
    if isinstance(error, UserError):
        message = str(error)
    elif any(word in str(error) for word in _LOST):
        time.sleep(_SECONDS_TO_NAME)  # meanwhile, the watch ends this process
        status = watch.UNFINISHED
        message = (
            f"another process is gone ({in_one_line(error)}): start all of them again with the same command; the run "
            "continues from its last checkpoint"
        )
    else:
        traceback.print_exception(error)
        message = f"{type(error).__name__}: {error}"
    message = f"process {watch_.index} of {watch_.count}: {message}"
    watch_.tell(message, status)
    _end(message, status)


def _end(message, status):
    """Prints the message and ends the process at once, as an orderly exit would wait for the others."""
    _ending.acquire()  # never released: later failures in other threads are consequences of the first
    try:
        if getattr(tqdm, "_instances", None):  # a bar, in the middle of whose line the cursor is
            print(file=sys.stderr)
        print(f"relo: {message}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    finally:  # also if the log's disk is full
        os._exit(status)


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
        self._watch = _watch if _watch is not None and _watch.count > 1 else None
        self._event = threading.Event()

    def after(self, step: int) -> bool:
        """Whether to end after this step; to be called after every step.

        With several processes it is true on all of them at the same step, whichever received the signal: they agree on
        a step that none has passed (`relo_jax.train.last_step`), without waiting for the device.
        """
        if self._watch and self._watch.is_last(step):
            self._event.set()
        return self.now()

    def now(self) -> bool:
        """Whether to end without waiting for the end of a step. With several processes, not before `after` says so."""
        return self._event.is_set()

    @property
    def is_shared(self) -> bool:
        """Whether several processes are to stop together."""
        return self._watch is not None

    def request(self) -> None:
        """Asks all processes to end."""
        if self._watch:
            self._watch.end_soon()
        else:
            self._event.set()


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C request the Stop that this gives. A second one has its usual effect.

    Only a second SIGTERM to one of several processes has none: schedulers send more than one.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def on_signal(number: int, _: object) -> None:
        if number == signal.SIGINT or not stop.is_shared:
            restore()
        stop.request()

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
