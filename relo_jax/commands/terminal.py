"""What a command owes the terminal: Ctrl-C that is never lost, and no traceback when nobody reads what it prints."""

import contextlib
import errno
import select
import signal
import sys
import threading

from relo_jax.errors import UserError
from relo_jax.files import discard_stdout

_AGAIN = 0.05  # seconds
_FULL = (errno.ENOSPC, errno.EDQUOT)


class ReaderGone(Exception):
    """Nobody reads the standard output any more."""


@contextlib.contextmanager
def no_lost_interrupts():
    """Sends Ctrl-C again where it came while Python could only ignore it.

    An exception in a callback goes nowhere, and JAX has a callback in each garbage collection.

    Raises:
      KeyboardInterrupt: as ever; also at the end, for one that was to be sent again.
    """
    told, again = sys.unraisablehook, []

    def hook(unraisable):
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            told(unraisable)
            return
        main = threading.main_thread().ident
        again.append(threading.Timer(_AGAIN, signal.pthread_kill, (main, signal.SIGINT)))
        again[-1].daemon = True
        again[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = told
        waiting = [timer for timer in again if not timer.finished.is_set()]
        for timer in waiting:
            timer.cancel()
        if waiting and sys.exc_info()[0] is None:
            raise KeyboardInterrupt


@contextlib.contextmanager
def printing():
    """For all that prints: what is left in the buffers is written, too.

    Raises:
      ReaderGone: whoever read the standard output is gone.
      UserError: the disk is full.
    """
    try:
        yield
    finally:
        failure, error = _flush(), sys.exc_info()[1]
        if isinstance(error, OSError) and error.filename is None and (error.errno in _FULL or _nobody_reads()):
            discard_stdout()  # it was not buffered
            failure = error
        # Another error that is on its way says more.
        if failure is not None and (error is None or isinstance(error, (OSError, SystemExit))):
            if isinstance(failure, BrokenPipeError):
                raise ReaderGone from None
            raise UserError(f"the output cannot be written: {failure.strerror}") from None


def _flush():
    """What is wrong with the standard output, None where nothing is; after a failure nothing more goes there."""
    try:
        if sys.stdout is not None:  # as where it was closed before the start
            sys.stdout.flush()
    except OSError as failure:
        discard_stdout()
        return failure
    return None


def _nobody_reads():
    """Whether the standard output is a pipe that has no other end."""
    if sys.stdout is None:
        return False
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # errors are always told
    return any(event & select.POLLERR for _, event in pipe.poll(0))
