"""Copies of a cache's changes, from instance to instance by UDP, in the form of real uWSGI's.

What lives here: `Sender` and `Receiver`. What does not: the bytes (`wire.uwsgi.cache`), the cache (`local`).

As with uWSGI's, nobody answers: a change that is lost on its way stays lost, and so do those before a receiver was
there; clearing a cache, what expires and what a full cache drops are not sent, and what has come as a copy is not sent
on. A change is sent while its write transaction is open, so those of one instance leave in their order. Whoever can
send to the address of a `Receiver` can change the cache: it belongs into a network of trusted machines.

A number that is counted is sent as it is then; real uWSGI sends what was added. A value that is too large for a
datagram is not sent, and the copies are deleted, so that nobody finds the old value; real uWSGI sends a part of it.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from uwsgi_async.errors import OptionError
from uwsgi_async.wire.uwsgi.cache import LARGEST_DATAGRAM, Copy, decode_copy, encode_copy

logger = logging.getLogger("uwsgi_async")

_IN_A_ROW: Final = 64  # datagrams, before others get a turn


class Sender:
    """Sends the changes of cache ``name`` to ``nodes``, host:port."""

    def __init__(self, name: str, nodes: Sequence[str]) -> None:
        self._name = name
        self._nodes = [resolved(node) for node in nodes]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._failed = False

    def __repr__(self) -> str:
        return f"<Sender to {', '.join(f'{host}:{port}' for host, port in self._nodes)}>"

    def send(self, copy: Copy) -> None:
        """Send a change to all nodes. Never raises: the first of failures in a row is logged."""
        try:
            data = encode_copy(copy)
        except ValueError as error:
            logger.warning(
                "cache %r: a value cannot be copied by UDP, and its copies are deleted: %s", self._name, error
            )
            data = encode_copy(Copy(key=copy.key))
        try:
            for node in self._nodes:
                self._socket.sendto(data, node)
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.error("cache %r: changes cannot be sent by UDP: %s", self._name, error.strerror)
            self._failed = True

    def close(self) -> None:
        self._socket.close()


class Receiver:
    """Takes changes for cache ``name`` at ``address``, host:port. Raises `OptionError` when it cannot listen there."""

    def __init__(self, name: str, address: str) -> None:
        self._name = name
        place = resolved(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(place)
        except OSError as error:
            self._socket.close()
            raise OptionError(f"cache2: cannot listen at udp {address}: {error.strerror}") from error
        logger.info('*** udp server for cache "%s" running on %s:%d ***', name, *self._socket.getsockname())

    def __repr__(self) -> str:
        return f"<Receiver of {self._name!r}>"

    async def run(self, take: Callable[[Copy], object]) -> None:
        """Give each change to ``take``, until cancelled. What is no change is dropped."""
        while True:
            await anyio.wait_readable(self._socket)
            for _ in range(_IN_A_ROW):
                try:
                    data = self._socket.recv(LARGEST_DATAGRAM + 1)
                except BlockingIOError:
                    break
                copy = decode_copy(data)
                if copy is not None:
                    take(copy)
            await checkpoint()

    def close(self) -> None:
        self._socket.close()


def resolved(address: str) -> tuple[str, int]:
    """Return the IPv4 address and the port of host:port. Raises `OptionError`."""
    host, _, port = address.rpartition(":")
    try:
        return socket.gethostbyname(host or "0.0.0.0"), int(port)
    except (OSError, UnicodeError) as error:
        raise OptionError(f"cache2: the host of udp address {address!r} is not known: {error}") from error
