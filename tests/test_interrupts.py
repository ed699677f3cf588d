"""Ctrl-C does not wait for a compiler."""

import subprocess
import sys
import threading

import pytest

from relo_jax import interrupts

LEFT_BEHIND = """
import sys, threading
from relo_jax import interrupts
try:
    interrupts.wait_for(threading.Event().wait, lambda: True)
except interrupts.Stopped:
    print("stopped")
{}
sys.exit(3)
"""


def test_work_has_a_value_or_an_error():
    assert interrupts.wait_for(lambda: threading.current_thread() is threading.main_thread(), lambda: True) is False
    with pytest.raises(ZeroDivisionError):
        interrupts.wait_for(lambda: 1 / 0, lambda: False)


@pytest.mark.parametrize(("code", "status"), [("", 130), ("interrupts.leave(7)", 7)])
def test_a_process_ends_although_a_thread_goes_on(code, status):
    ended = subprocess.run([sys.executable, "-c", LEFT_BEHIND.format(code)], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("stopped\n", "", status)
