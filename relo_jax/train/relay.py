"""A connection passed on to another address, so that a process sees who is at its other end, and when that is gone."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

Receive = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_POLL = 0.5  # seconds between two looks at whether a connection may close


def until_cancelled(receive: Receive) -> Receive:
    """The same for `asyncio.start_server`, which prints a traceback if what it started is cancelled."""

    async def received(reader, writer):
        with contextlib.suppress(asyncio.CancelledError):
            await receive(reader, writer)

    return received


async def pass_on(
    address: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"",
    stays_open: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """Passes a connection on to an address, until either end closes it.

    Args:
      address: host and port.
      reader: of the connection, with what comes after `first`.
      writer: of the connection.
      first: bytes of it that were read already.
      stays_open: whether this end outlives the other, if that has answered before.
    """
    try:
        far_reader, far_writer = await asyncio.open_connection(*address)
    except OSError:  # it is not there yet; JAX tries again
        return writer.close()
    far_writer.write(first)
    there = asyncio.ensure_future(_pump(reader, far_writer, to_the_end=True))  # else a break would be JAX's to notice
    back = asyncio.ensure_future(_pump(far_reader, writer))
    await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
    has_worked = back.done() and back.result() > 0
    while not there.done() and has_worked and stays_open():
        await asyncio.wait([there], timeout=_POLL)
    for task in (there, back):
        task.cancel()
    for end in (far_writer, writer):
        end.close()


async def _pump(reader, writer, to_the_end=False):
    """Copies to the end, or until either side breaks; with `to_the_end`, until the reading side does.

    Returns the number of bytes.
    """
    count = 0
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            count += len(piece)
            with contextlib.suppress(OSError) if to_the_end else contextlib.nullcontext():
                writer.write(piece)
                await writer.drain()
    return count
