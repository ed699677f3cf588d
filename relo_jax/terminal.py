"""What a command owes the terminal: Ctrl-C that is never lost, and no traceback when nobody reads what it prints."""

import contextlib
import errno
import os
import signal
import sys
import threading

from relo_jax.errors import UserError

_AGAIN = 0.05  # seconds


@contextlib.contextmanager
def no_lost_interrupts():
    """Sends Ctrl-C again where it came while Python could only ignore it.

    An exception in a callback goes nowhere, and JAX has a callback in each garbage collection.
    """
    told = sys.unraisablehook

    def hook(unraisable):
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            main = threading.main_thread().ident
            again = threading.Timer(_AGAIN, signal.pthread_kill, (main, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            told(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = told


@contextlib.contextmanager
def printing():
    """For all that prints: what is left in the buffers is written, too.

    Raises:
      BrokenPipeError: whoever read the standard output is gone.
      UserError: the standard output cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nothing_to_stdout()
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:  # of some file, and a fault of ours
            raise
        nothing_to_stdout()
        raise UserError(f"the standard output cannot be written: {error.strerror}") from error


def nothing_to_stdout():
    """Nothing more is written to the standard output, the interpreter's end included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
