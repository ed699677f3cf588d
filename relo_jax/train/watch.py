"""Which process of a run is gone: noticed, and told to all, before JAX notices, which aborts every process.

JAX's coordination service runs in process 0. If that dies, C++ code in all others prints a stack trace and aborts; if
another process dies, the same happens after 100 seconds. Therefore process 0 listens at the address of the service, and
every other process makes two connections to it:

    JAX -> relay -> process 0 -> the service     kept open at this end, so that JAX does not notice its loss
    watch        -> process 0                    both say every few seconds that they live; messages to all

The system closes the second when a process dies, whatever the reason. A host that is down does not answer the system's
own probes; a process that hangs says nothing.
"""

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import socket
import threading
from collections.abc import Callable

from relo_jax.errors import UserError, in_one_line
from relo_jax.train import relay
from relo_jax.train.last_step import LastStep

UNFINISHED = 75  # exit status of a run that the same command continues: EX_TEMPFAIL
_BEAT = 5.0  # seconds between two signs of life
_SILENCE = 60.0  # seconds without one after which a process counts as hanging: a process that is busy may skip some
_UNREACHABLE = 20.0  # seconds without an answer of a host's system
_MEETING = 300.0  # seconds for all processes to come
_GATHERING = 1.0  # seconds in which losses become one message
_LEAVING = 5.0  # seconds for others to read a message, or to leave
_RETRY = 0.5  # seconds between two tries to reach process 0
_GRPC = b"PRI "  # the first bytes of JAX's connections
_MESSAGE_LENGTH = 4000  # characters


@dataclasses.dataclass
class _Peer:
    """Another process."""

    index: int
    host: str
    writer: asyncio.StreamWriter
    silent: float = 0.0  # seconds
    has_left: bool = False  # and said so

    def say(self, word: str, *values: object) -> None:
        self.writer.write(f"{json.dumps([word, *values])}\n".encode())


class Watch:
    """Watches over the processes of a run, in a thread of its own.

    Args:
      address: "host:port" of process 0.
      count: number of processes.
      index: of this process.
      end: called with a message and an exit status to end this process; does not return.

    Raises:
      UserError: process 0 cannot listen at its address.
    """

    def __init__(self, address: str, count: int, index: int, end: Callable[[str, int], None]):
        self.count, self.index, self._end = count, index, end
        host, _, port = address.rpartition(":")
        self._leader = host.strip("[]"), int(port)
        self._peers: dict[int, _Peer] = {}
        self._gone: dict[int, str] = {}  # process -> what became of it
        self._last_step = LastStep(count, index, self._say)
        self._has_met = self._is_ending = self._is_leaving = False
        self._tasks: set[asyncio.Task] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relo watch", daemon=True)
        self._thread.start()
        try:
            port = self._call(self._open())
        except OSError as error:
            raise UserError(f"process 0 cannot listen at {address} ({error.strerror}): give another port") from None
        self.service = f"127.0.0.1:{port}"  # where JAX finds, and in process 0 makes, the service

    def met(self) -> None:
        """To be called when all processes have come."""
        self._has_met = True

    def tell(self, message: str, status: int) -> None:
        """Ends all other processes with a message. Does not return if they end for another reason already."""
        self._call(self._tell(message, status))

    def end_soon(self) -> None:
        """Asks all processes to end after the same step. May be called in a handler of a signal."""
        self._loop.call_soon_threadsafe(self._last_step.ask)

    def is_last(self, step: int) -> bool:
        """Whether all processes are to end after this step; to be called after every step."""
        return self._last_step.is_reached(step)

    def leave(self) -> None:
        """Says that this process ends in order."""
        self._call(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self):
        """Begins to watch. Returns the port at which JAX is to look for the service here."""
        self._start(self._beat())
        self._loop.call_later(_MEETING, self._check_met)
        if self.index:
            self._start(self._join())
            near = await asyncio.start_server(relay.until_cancelled(self._relay_to_leader), "127.0.0.1", 0)
            return near.sockets[0].getsockname()[1]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._service = free.getsockname()
        receive = relay.until_cancelled(self._receive)
        # As JAX does, on all addresses of this host if no variable names one.
        host, _, port = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f":{self._leader[1]}").rpartition(":")
        try:
            await asyncio.start_server(receive, host.strip("[]") or None, int(port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or host:
                raise
            await asyncio.start_server(receive, "0.0.0.0", int(port))  # a system without IPv6
        return self._service[1]

    def _start(self, work):
        task = self._loop.create_task(work)
        self._tasks.add(task)  # asyncio itself does not keep it alive
        task.add_done_callback(self._tasks.discard)

    def _say(self, index, word, *values):
        if index in self._peers:
            self._peers[index].say(word, *values)

    async def _beat(self):
        """Says that this process lives, and counts how long others have not.

        It counts its own beats: time in which this process did not run is not time in which the others said nothing.
        """
        while True:
            await asyncio.sleep(_BEAT)
            for peer in self._peers.values():
                peer.say("alive")
                peer.silent += _BEAT
                if peer.silent > _SILENCE:
                    self._lose(peer, f"has not answered for {_SILENCE:g} s: it hangs, or it was stopped")

    # ---- Process 0

    async def _receive(self, reader, writer):
        """A connection to process 0."""
        try:
            first = await reader.readline()
            if first.startswith(_GRPC):
                return await relay.pass_on(self._service, reader, writer, first)
            index, host, count = json.loads(first)
            problem = self._problem(index, count)
        except (OSError, ValueError, TypeError):  # not one of ours
            return writer.close()
        peer = _Peer(index, in_one_line(str(host), 100), writer)
        if problem:
            peer.say("end", f"process {index}: {problem}", 1)
            return writer.close()
        self._peers[index] = peer
        await self._listen(peer, reader)

    def _problem(self, index, count):
        if count != self.count:
            return f"it was started as one of {count} processes, process 0 as one of {self.count}"
        if index in self._peers or index not in range(1, self.count):
            return "there is another process of this number"
        return None

    # ---- Other processes

    async def _join(self):
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._leader)
                break
            except OSError:
                await asyncio.sleep(_RETRY)
        writer.write(f"{json.dumps([self.index, socket.gethostname(), self.count])}\n".encode())
        self._peers[0] = _Peer(0, self._leader[0], writer)
        await self._listen(self._peers[0], reader)

    async def _relay_to_leader(self, reader, writer):
        await relay.pass_on(self._leader, reader, writer, stays_open=lambda: not self._is_leaving)

    # ---- All processes

    async def _listen(self, peer, reader):
        """Reads what another process says, until it leaves or is lost."""
        _probe(peer.writer.get_extra_info("socket"))
        peer.say("here", socket.gethostname())
        why = "is gone: it was killed, or it crashed"
        try:
            while line := await reader.readline():
                peer.silent = 0.0
                word, *values = json.loads(line)
                if word == "here":
                    peer.host = in_one_line(str(values[0]), 100)
                    self._last_step.meet(peer.index)
                elif word == "bye":
                    peer.has_left = True
                    self._last_step.leave(peer.index)
                elif word == "end":
                    self._start(self._told(*values))
                else:
                    self._last_step.hear(peer.index, word, *values)
        except TimeoutError:
            why = "cannot be reached: its host or the network is down"
        except (OSError, ValueError) as error:
            why = f"is gone ({in_one_line(error)})"
        peer.writer.close()
        if not peer.has_left:
            self._lose(peer, why)
        peer.has_left = True

    def _lose(self, peer, why):
        if self._is_ending or peer.index in self._gone:
            return
        if not self._gone:
            self._loop.call_later(_GATHERING, lambda: self._start(self._end_without()))
        self._gone[peer.index] = f"process {peer.index} on {peer.host} {why}"

    async def _end_without(self):
        lost = "; ".join(text for _, text in sorted(self._gone.items()))
        await self._end_all(
            f"{lost}. Start all of them again with the same command: the run continues from its last checkpoint",
            UNFINISHED,
        )

    async def _told(self, message, status):
        """Another process has failed."""
        if not self._gone:  # else it failed because of that
            await self._end_all(in_one_line(str(message), _MESSAGE_LENGTH), int(status))

    async def _end_all(self, message, status):
        await self._tell(message, status)
        self._end(message, status)

    async def _tell(self, message, status):
        if self._is_ending or self._gone and status != UNFINISHED:
            await asyncio.Event().wait()  # this process is about to end with the first message
        self._is_ending = True
        for peer in self._peers.values():
            peer.say("end", message, status)
        await self._until_left(flushed=self.index > 0)

    async def _leave(self):
        self._is_ending = self._is_leaving = True
        for peer in self._peers.values():
            peer.say("bye")
        await self._until_left(flushed=self.index > 0)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.wait(rest)

    async def _until_left(self, flushed):
        """Waits, but not long, until all others are gone; or, if `flushed`, only until they were told."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LEAVING):
                for peer in self._peers.values():
                    await peer.writer.drain()
                while not flushed and not all(peer.has_left for peer in self._peers.values()):
                    await asyncio.sleep(0.05)

    def _check_met(self):
        if self._has_met or self._is_ending:
            return
        if self.index and self._peers:  # process 0 knows who is missing, and is about to say so
            self._loop.call_later(2 * _LEAVING, self._check_met)
            return
        missing = [0] if self.index else sorted(set(range(1, self.count)) - self._peers.keys())
        what = "JAX did not join the processes at "
        if missing:
            names = f"process{'es' if len(missing) > 1 else ''} {', '.join(map(str, missing))} of {self.count}"
            what = f"{names} {'cannot be reached at' if self.index else 'did not come to'} "
        where = f"{self._leader[0]}:{self._leader[1]}"
        self._start(self._end_all(
            f"{what}{where} within {_MEETING:g} s: start all processes, with the same --coordinator and "
            "--num_processes", 1,
        ))  # fmt: skip


def _probe(connection: socket.socket) -> None:
    """Lets the system close a connection to a host that is down, also while this process is busy."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = int(_UNREACHABLE)
    for name, value in (
        ("TCP_KEEPIDLE", seconds // 2), ("TCP_KEEPINTVL", seconds // 4), ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", 1000 * seconds),
    ):  # fmt: skip
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
