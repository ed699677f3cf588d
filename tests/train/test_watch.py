"""Processes of a run that are killed, hang or do not come are named to all others, and JAX does not notice first.

The watches of all processes run in this one, joined over loopback; `tests/kill/hosts.py` does the same with training.
"""

import queue
import socket
import threading
import time

import pytest

from relo_jax.errors import UserError
from relo_jax.train import watch
from tests.ports import free_port


@pytest.fixture
def quick(monkeypatch):
    for name, seconds in (("_BEAT", 0.05), ("_SILENCE", 1.0), ("_GATHERING", 0.1), ("_LEAVING", 0.3), ("_RETRY", 0.05)):
        monkeypatch.setattr(watch, name, seconds)


@pytest.fixture
def run(quick):
    """Starts the watches of a run of three; what ends a process is in its queue."""
    watches, port = [], free_port()

    def start(*indices, count=3, met=True):
        for index in indices:
            ends = queue.Queue()
            one = watch.Watch(f"127.0.0.1:{port}", count, index, lambda *end, ends=ends: ends.put(end))
            one.ends = ends
            watches.append(one)
        deadline = time.monotonic() + 10
        while met and len(watches[0]._peers) < count - 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for one in watches if met else ():
            one.met()
        return watches

    yield start
    for one in watches:
        one.leave()


def _die(one):
    """What the system does for a process that is killed."""
    one._is_ending = True
    for peer in one._peers.values():
        one._loop.call_soon_threadsafe(peer.writer.transport.abort)


def test_a_killed_process_is_named_to_all_others(run):
    first, second, third = run(0, 1, 2)
    _die(third)
    for one in (first, second):
        message, status = one.ends.get(timeout=10)
        assert status == watch.UNFINISHED and message.startswith(f"process 2 on {socket.gethostname()} is gone")
        assert "Start all of them again with the same command" in message and "\n" not in message
    assert third.ends.empty()


def test_without_process_0_the_others_name_it(run):
    first, *others = run(0, 1, 2)
    _die(first)
    for one in others:
        message, status = one.ends.get(timeout=10)
        assert status == watch.UNFINISHED and message.startswith(f"process 0 on {socket.gethostname()} is gone")


def test_a_process_that_hangs_is_named(run):
    first, second, third = run(0, 1, 2)
    second._loop.call_soon_threadsafe(time.sleep, 3)
    for one in (first, third):
        message, status = one.ends.get(timeout=10)
        assert status == watch.UNFINISHED and "process 1 on" in message and "has not answered for 1 s" in message


def test_several_lost_processes_are_one_message(run):
    first, *others = run(0, 1, 2)
    for one in others:
        _die(one)
    message, _ = first.ends.get(timeout=10)
    assert "process 1 on" in message and "; process 2 on" in message


def test_the_error_of_a_process_ends_all_others_with_its_message(run):
    first, second, third = run(0, 1, 2)
    third.tell("process 2 of 3: /data: no such folder", 1)
    _die(third)
    for one in (first, second):
        assert one.ends.get(timeout=10) == ("process 2 of 3: /data: no such folder", 1)
        time.sleep(0.3)
        assert one.ends.empty()  # that process 2 is gone is no news


def test_processes_that_leave_are_not_lost(run, caplog):
    watches = run(0, 1, 2)
    with socket.create_connection(_address(watches[1])) as jax:
        jax.sendall(watch._GRPC + b"...\n")
        time.sleep(0.2)
    for one in (watches[2], watches[1], watches[0]):
        one.leave()
    assert all(one.ends.empty() for one in watches) and not caplog.records
    watches.clear()


def test_processes_that_are_asked_to_end_at_once_end_after_the_same_step(run):
    """Each takes its steps in a thread of its own, in its own time."""
    watches, ends = run(0, 1, 2), queue.Queue()

    def train(one, pause):
        step = next(step for step in range(1, 2000) if time.sleep(pause) or one.is_last(step))
        ends.put(step)

    threads = [threading.Thread(target=train, args=(one, 0.001 * k), daemon=True) for k, one in enumerate(watches, 1)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    for one in watches:
        one.end_soon()
        one.end_soon()
    assert len({ends.get(timeout=10) for _ in watches}) == 1
    assert all(one.ends.empty() for one in watches)


def test_a_process_that_does_not_come_is_named(run, monkeypatch):
    monkeypatch.setattr(watch, "_MEETING", 0.5)
    for one in run(0, 2, met=False):
        message, status = one.ends.get(timeout=10)
        assert status == 1 and message.startswith("process 1 of 3 did not come to 127.0.0.1:")


def test_a_process_0_that_cannot_be_reached_is_named(run, monkeypatch):
    monkeypatch.setattr(watch, "_MEETING", 0.5)
    ((message, _),) = [one.ends.get(timeout=10) for one in run(1, met=False)]
    assert message.startswith("process 0 of 3 cannot be reached at 127.0.0.1:")


@pytest.mark.parametrize("index, count, problem", [(1, 3, "another process of this number"), (2, 4, "one of 4")])
def test_a_process_that_does_not_belong_is_told_so(run, index, count, problem):
    run(0, 1, met=False)
    time.sleep(0.3)
    (*others, last) = run(index, count=count, met=False)
    message, status = last.ends.get(timeout=10)
    assert status == 1 and problem in message
    assert all(one.ends.empty() for one in others)


def test_a_port_that_is_taken_is_one_line(quick):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen at .*: give another port"):
            watch.Watch(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0, print)


def test_jax_does_not_notice_that_process_0_is_gone(run):
    first, second = run(0, 1, count=2)
    with socket.create_server(first._service) as service, socket.create_connection(_address(second)) as jax:
        jax.sendall(watch._GRPC + b"...\n")
        near, _ = service.accept()
        assert near.recv(100) == watch._GRPC + b"...\n"  # both relays pass it on
        near.sendall(b"answer")
        assert jax.recv(100) == b"answer"
        near.close()
        for _ in range(20):  # what it says meanwhile goes nowhere
            jax.sendall(b"more")
            time.sleep(0.02)
        jax.settimeout(1)
        with pytest.raises(TimeoutError):  # neither an end nor an error
            jax.recv(100)


def _address(one):
    host, _, port = one.service.rpartition(":")
    return host, int(port)
