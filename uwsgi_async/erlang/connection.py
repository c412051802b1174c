"""One connection to another node, when the handshake is over: messages in and out, ticks, and its end.

What lives here: `Connection`, and `Pressure`, which keeps what waits in this process within bounds. What does not: the
bytes (`messages`), how it came to be (`dialing`, `naming`), what messages do (`node`).

Nobody but the one task that writes touches the stream, so a caller that is cancelled never leaves half a message. Ticks
follow Erlang's net_ticktime: a quarter of it without a word sent is ended by a tick, and four quarters without a word
received end the connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Final

import anyio
from anyio.abc import ByteStream

from uwsgi_async.erlang.handshake import Session
from uwsgi_async.erlang.messages import (
    TICK,
    FrameReader,
    Message,
    Send,
    UndeliverableError,
    decode_message,
    encode_message,
)
from uwsgi_async.erlang.values import Pid, Reference
from uwsgi_async.errors import ErlangError, NodeDownError

logger = logging.getLogger("uwsgi_async")

_ROOM: Final = 1 << 20  # bytes that wait to be sent until a sender waits, too
_QUARTERS: Final = 4  # of net_ticktime, without a word, until a node counts as dead
_READ: Final = 256 << 10  # bytes
_LAST_MOMENTS: Final = 2.0  # seconds for the other side to take the last words
_MAIN: Final = 1  # the number of the process that calls and receives


class Pressure:
    """How much of what has come waits in this process. ``limit``: bytes from which on no more is read.

    ``waiting``: how many wait for an answer of this connection; for their sake reading goes on, up to four times as
    much.
    """

    def __init__(self, limit: int) -> None:
        self.waiting = 0
        self._limit = limit
        self._held = 0
        self._changed = anyio.Event()

    def __repr__(self) -> str:
        return f"<Pressure {self._held} of {self._limit}>"

    def hold(self, size: int) -> None:
        """Something of ``size`` bytes waits. Raises `ErlangError` when that is too much, whoever waits."""
        self._held += size
        if self._held > 4 * self._limit:
            raise ErlangError(
                f"{self._held} bytes of messages wait here to be worked on, while answers are waited for: too many"
            )

    def release(self, size: int) -> None:
        self._held -= size
        self.notify()

    def notify(self) -> None:
        """See to it that who waits for room looks again."""
        self._changed.set()

    @property
    def is_high(self) -> bool:
        return self._held > self._limit and not self.waiting

    async def low(self) -> None:
        """Wait until more may be read."""
        while self.is_high:
            self._changed = anyio.Event()
            await self._changed.wait()


class Connection:
    """A connection that is up. ``session``: what the handshake has come to. ``rest``: bytes that came behind it.

    ``handle``: called with each message and its size in bytes; ``on_end``: called once, when the connection has ended.
    ``ticktime``: seconds, Erlang's net_ticktime. ``largest``: bytes of a message.
    """

    def __init__(
        self,
        stream: ByteStream,
        session: Session,
        rest: bytes,
        *,
        ticktime: float,
        largest: int,
        handle: Callable[[Connection, Message, int], None],
        on_end: Callable[[Connection], None],
    ) -> None:
        self.session = session
        self.pressure = Pressure(largest)
        self.end_reason = ""
        self._stream = stream
        self._frames = FrameReader(largest, rest)
        self._ticktime = ticktime
        self._handle = handle
        self._on_end = on_end
        self._out = bytearray()
        self._sending = False
        self._news = anyio.Event()  # there is something to send
        self._drained = anyio.Event()  # there is room to send more
        self._said = self._heard = False  # since the last quarter
        self._references = count(1)
        self._scope = anyio.CancelScope()
        self._over = anyio.Event()
        self.main = self.pid(_MAIN)

    def __repr__(self) -> str:
        return f"<Connection of {self.session.local.name} to {self.session.peer}{self.end_reason and ': ended'}>"

    @property
    def is_up(self) -> bool:
        return not self.end_reason

    def pid(self, number: int) -> Pid:
        """Return the pid, as the other side sees it, of the process of a number."""
        local = self.session.local
        return Pid(local.name, number & 0xFFFFFFF, number >> 28, local.creation)

    def number_of(self, pid: Pid) -> int:
        """Return the number of a process of this node; 0 for a pid that is of another one, or of another time."""
        number, serial, creation = pid
        local = self.session.local
        return (serial << 28) + number if (pid.node, creation) == (local.name, local.creation) else 0

    def reference(self) -> Reference:
        """Return a new reference."""
        number = next(self._references)
        local = self.session.local
        return Reference(local.name, (number & 0x3FFFF, number >> 18 & 0xFFFFFFFF, 0), local.creation)

    # --- sending ----------------------------------------------------------------------------------------------

    def send_nowait(self, *messages: Message) -> None:
        """Let messages be sent, in their order. All or none. Raises `NodeDownError`, `TermError`."""
        data = b"".join(encode_message(message, self.session.flags) for message in messages)
        if not self.is_up:
            raise self.down()
        self._out += data
        self._news.set()

    async def send(self, *messages: Message) -> None:
        """Do the same, and wait while there is much to send already."""
        self.send_nowait(*messages)
        await self._until(lambda: len(self._out) <= _ROOM)

    async def flushed(self) -> None:
        """Wait until all has been given to the system. Raises `NodeDownError`."""
        await self._until(lambda: not self._out and not self._sending)
        if not self.is_up:
            raise self.down()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while self.is_up and not condition():
            self._drained = anyio.Event() if self._drained.is_set() else self._drained
            await self._drained.wait()

    def down(self) -> NodeDownError:
        """Return the error of somebody who needs the connection."""
        return NodeDownError(f"the connection to {self.session.peer} has ended: {self.end_reason}")

    # --- life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read, write and tick until the connection ends. Raises nothing but the event loop's cancellation."""
        reason = "this node has closed it"
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    tasks.start_soon(self._tick)
                    reason = await self._read()
                    tasks.cancel_scope.cancel()
        finally:
            self._end(reason)
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(self._stream)

    def close(self, reason: str) -> None:
        """End the connection now."""
        self._end(reason)
        self._scope.cancel()

    async def finish(self) -> None:
        """End the connection when the other side has got all that was sent; it has a moment for that."""
        with anyio.move_on_after(_LAST_MOMENTS, shield=True):
            try:
                await self.flushed()
                await self._stream.send_eof()
            except (NodeDownError, OSError, RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # it is gone already, for which uvloop has the RuntimeError
            else:
                self.pressure.waiting += 1  # read to the end, else the other side might lose what it has not read
                self.pressure.notify()
                await self._over.wait()
        self.close("this node has closed it")

    def _end(self, reason: str) -> None:
        if self.end_reason:
            return
        self.end_reason = reason
        self._drained.set()
        self._over.set()
        self._on_end(self)

    async def _read(self) -> str:
        """Handle what comes until nothing more can; return why."""
        while True:
            try:
                while (frame := self._frames.next_frame()) is not None:
                    if frame:
                        self._receive(frame)
                        await self._room()
                data = await self._stream.receive(_READ)
            except ErlangError as error:
                logger.error("Erlang node %s: %s", self.session.peer, error)
                return str(error)
            except anyio.EndOfStream:
                return "it has closed it"
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return "it is broken"
            except Exception:
                logger.exception("Erlang node %s: an error of this node's ends the connection", self.session.peer)
                return "an error of this node"
            self._heard = True
            self._frames.receive_data(data)

    def _receive(self, frame: bytes) -> None:
        try:
            message = decode_message(frame)
        except UndeliverableError as error:
            logger.error("a message of Erlang node %s was dropped: %s", self.session.peer, error)
            message = error.message
            if isinstance(message, Send):  # the others say something without what they carried
                return
        self._handle(self, message, len(frame))

    async def _room(self) -> None:
        """Read no further while much waits to be worked on, or to be sent: the other side is held up then."""
        if self.pressure.is_high:
            await self.pressure.low()
            self._heard = True  # it may have been heard, if somebody had listened
        if len(self._out) > _ROOM:
            await self._until(lambda: len(self._out) <= _ROOM)

    async def _write(self) -> None:
        while True:
            while not self._out:
                self._news = anyio.Event()
                await self._news.wait()
            data, self._out, self._sending = self._out, bytearray(), True
            try:
                await self._stream.send(bytes(data))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.close("it is broken")
                return
            self._said, self._sending = True, False
            self._drained.set()

    async def _tick(self) -> None:
        silent = 0
        while True:
            await anyio.sleep(self._ticktime / _QUARTERS)
            if not self._said and not self._out:
                self._out += TICK
                self._news.set()
            silent = 0 if self._heard or self.pressure.is_high else silent + 1
            self._said = self._heard = False
            if silent >= _QUARTERS:
                logger.error(
                    "Erlang node %s does not answer: nothing came for %g s (net_ticktime)",
                    self.session.peer, self._ticktime,
                )  # fmt: skip
                self.close("it does not answer (net_ticktime)")
                return
