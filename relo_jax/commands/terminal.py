"""Terminal behaviour of all commands: Ctrl-C is never lost, and a closed pipe causes no traceback."""

import contextlib
import errno
import select
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from relo_jax.errors import UserError
from relo_jax.files import discard_stdout

_DELAY = 0.05  # seconds until Ctrl-C is sent again
_FULL = (errno.ENOSPC, errno.EDQUOT)


class ReaderGone(Exception):
    """The reader of the standard output has closed it."""


def how_called() -> str:
    """What to type for `relo` in this shell: the word alone where it leads here, else the path as in `sys.argv`."""
    called = Path(sys.argv[0])
    if called.stem != "relo":
        return f"{shlex.quote(sys.executable)} -m relo_jax.commands.main" if called.suffix == ".py" else "relo"
    found = shutil.which("relo")
    if found is not None and called.exists() and Path(found).resolve() == called.resolve():
        return "relo"
    inside = called.absolute().is_relative_to(Path.cwd())
    return shlex.quote(str(called.absolute().relative_to(Path.cwd()) if inside else called))


@contextlib.contextmanager
def no_lost_interrupts() -> Iterator[None]:
    """Sends Ctrl-C again if it came in a callback, where Python can only ignore it.

    JAX has a callback in each garbage collection.

    Raises:
      KeyboardInterrupt: as usual; also at the end, if one is still to be sent again.
    """
    previous, again = sys.unraisablehook, []

    def hook(unraisable):
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            previous(unraisable)
            return
        main = threading.main_thread().ident
        again.append(threading.Timer(_DELAY, signal.pthread_kill, (main, signal.SIGINT)))
        again[-1].daemon = True
        again[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = previous
        waiting = [timer for timer in again if not timer.finished.is_set()]
        for timer in waiting:
            timer.cancel()
        if waiting and sys.exc_info()[0] is None:
            raise KeyboardInterrupt


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Flushes the standard output at the end, and turns its errors into one line.

    Raises:
      ReaderGone: the reader has closed the standard output.
      UserError: the disk is full.
    """
    try:
        yield
    finally:
        failure, error = _flush(), sys.exc_info()[1]
        if isinstance(error, OSError) and error.filename is None and (error.errno in _FULL or _nobody_reads()):
            discard_stdout()  # unbuffered output failed in the block
            failure = error
        # Another error that is being raised is more important.
        if failure is not None and (error is None or isinstance(error, (OSError, SystemExit))):
            if isinstance(failure, BrokenPipeError):
                raise ReaderGone from None
            raise UserError(f"the output cannot be written: {failure.strerror}") from None


def _flush() -> OSError | None:
    """Flushes the standard output. After an error, which is returned, all further output is discarded."""
    try:
        if sys.stdout is not None:  # None if it was closed before the start
            sys.stdout.flush()
    except OSError as failure:
        discard_stdout()
        return failure
    return None


def _nobody_reads() -> bool:
    """Whether the standard output is a pipe whose reader is gone."""
    if sys.stdout is None:
        return False
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # errors are always reported
    return any(event & select.POLLERR for _, event in pipe.poll(0))
