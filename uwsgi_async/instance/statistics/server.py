"""The stats server: everybody who connects is told the statistics, over plain sockets or HTTP, and sent away.

What lives here: `StatsServer`, `open_stats`, `open_local_stats`, and the limits that keep a client from hurting the
instance: one answer a connection, a few seconds for it, and so many connections at once; when one more comes the oldest
gives way, so that slow clients cannot lock out a probe. What does not: what is told (`document`, `prometheus`, `http`).

Besides the addresses of the options there is a local one, `local_address`, in Linux's abstract namespace, by which
``uwsgi-async ps`` and its like find an instance by its process id. It answers this user and root only.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.errors import BadRequestError, BindError
from uwsgi_async.instance.listeners import Listener, open_listener
from uwsgi_async.instance.scoreboard import State
from uwsgi_async.instance.standing import find_owner
from uwsgi_async.instance.statistics.document import encode
from uwsgi_async.instance.statistics.http import METHODS, METRICS, probe, respond, text_response
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.options.settings import HttpOptions, Options
from uwsgi_async.options.stats import StatsOptions
from uwsgi_async.wire.address import AbstractAddress, parse_address
from uwsgi_async.wire.http import Endpoint, HttpReader, RequestHead, simple_response

logger = logging.getLogger("uwsgi_async")

TIME = 5.0
"""Seconds that a client has to ask and to read the answer."""

MOST_CONNECTIONS = 32
_BACKLOG = 64
_RETRY = 0.1  # seconds, when the machine is out of file descriptors
_HEADER_BYTES, _HEADER_COUNT = 8 * 1024, 50
_LINGER = 1.0  # seconds that a client has to close, so that what it still sends does not reset its answer
_UCRED = struct.Struct("3i")  # <sys/socket.h>: pid, uid, gid

FaceKind = Literal["plain", "http", "local"]


class Subject(Protocol):
    """Whom the statistics are about: the master, or the one process."""

    @property
    def state(self) -> State: ...

    async def look(self, detail: Detail) -> InstanceStatistics | None:
        """Return the statistics of this moment; None before there are any. Not called twice at once."""


@dataclass(frozen=True, slots=True)
class Face:
    """One address, and what is spoken there: JSON to everybody, HTTP, or JSON to this user and root."""

    listener: Listener
    kind: FaceKind


def local_address(pid: int) -> AbstractAddress:
    """Return where the instance of the master ``pid`` answers. The name also holds the namespace of process ids."""
    return AbstractAddress(f"uwsgi_async/{os.stat('/proc/self/ns/pid').st_ino}/{pid}")


def open_stats(options: Options, stack: ExitStack) -> list[Face]:
    """Open the addresses of ``options``; ``stack`` closes them. Raises `BindError`, `AddressError`, `UsageError`."""
    stats, sockets = options.stats, options.sockets
    owner = None if sockets.chown_socket is None else find_owner("chown-socket", sockets.chown_socket)
    faces = []
    wanted: list[tuple[str | None, FaceKind]] = [
        (stats.stats, "http" if stats.stats_http else "plain"),
        (stats.prometheus, "http"),
    ]
    for text, kind in wanted:
        if text is not None:
            listener = open_listener(
                parse_address(text), protocol="http", backlog=_BACKLOG, chmod=sockets.chmod_socket, chown=owner
            )
            stack.callback(listener.close)
            faces.append(Face(listener, kind))
            logger.info("*** Stats server enabled on %s fd: %d ***", listener.name, listener.sock.fileno())
    return faces


def open_local_stats(stack: ExitStack) -> list[Face]:
    """Open this process's `local_address`, if it can be had; ``stack`` closes it."""
    try:
        listener = open_listener(local_address(os.getpid()), protocol="http", backlog=_BACKLOG)
    except (BindError, OSError) as error:
        logger.warning("uwsgi-async ps, top, reload and stop cannot find this instance by its pid: %s", error)
        return []
    stack.callback(listener.close)
    return [Face(listener, "local")]


class StatsServer:
    """Answers at all faces while `run` runs. ``addresses``: those that the options name, as they are bound."""

    def __init__(self, options: StatsOptions, faces: list[Face], subject: Subject) -> None:
        self.addresses = tuple(face.listener.name for face in faces if face.kind != "local")
        self._options = options
        self._faces = faces
        self._subject = subject
        self._endpoint = Endpoint(HttpOptions(max_header_bytes=_HEADER_BYTES, max_header_count=_HEADER_COUNT))
        self._connections: dict[anyio.CancelScope, None] = {}
        self._looking = anyio.Lock()
        self._seen: tuple[float, Detail, InstanceStatistics | None] = (-inf, Detail.WORKERS, None)

    def __repr__(self) -> str:
        addresses = ", ".join(face.listener.name for face in self._faces)
        return f"<StatsServer on {addresses}: {len(self._connections)} connections>"

    async def run(self) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as tasks:
            for face in self._faces:
                tasks.start_soon(self._accept, face, tasks)

    async def _accept(self, face: Face, tasks: TaskGroup) -> None:
        while True:
            await anyio.wait_readable(face.listener.sock)
            try:
                sock, _ = face.listener.sock.accept()
            except (BlockingIOError, ConnectionError):
                continue
            except OSError as error:
                logger.error("the stats server cannot accept a connection: %s", error.strerror)
                await anyio.sleep(_RETRY)
                continue
            sock.setblocking(False)
            if len(self._connections) >= MOST_CONNECTIONS:
                oldest = next(iter(self._connections))
                del self._connections[oldest]
                oldest.cancel()
            scope = anyio.CancelScope(deadline=anyio.current_time() + TIME)
            self._connections[scope] = None
            tasks.start_soon(self._serve, face, sock, scope)

    async def _serve(self, face: Face, sock: socket.socket, scope: anyio.CancelScope) -> None:
        try:
            with sock, scope:
                answer = await self._answer(face, sock)
                await _send(sock, answer)
                if answer:
                    await _linger(sock)
        except OSError:
            pass  # the client has gone away
        except Exception:
            logger.exception("the stats server could not answer")
        finally:
            self._connections.pop(scope, None)

    async def _answer(self, face: Face, sock: socket.socket) -> bytes:
        if face.kind == "http":
            return await self._answer_http(sock)
        if face.kind == "local" and not is_friend(sock):
            return b""
        statistics = await self._look(Detail.VARS)
        return b"" if statistics is None else encode(statistics, self._options)

    async def _answer_http(self, sock: socket.socket) -> bytes:
        try:
            head = await self._read_head(sock)
        except BadRequestError as error:
            return simple_response(error.status)
        if head is None:
            return b""
        if head.method not in METHODS:
            return text_response(head, "405 Method Not Allowed", f"expected {' or '.join(METHODS)}\n")
        probed = probe(head.vars["PATH_INFO"], self._subject.state)
        if probed is not None:
            return text_response(head, *probed)
        detail = Detail.CORES if head.vars["PATH_INFO"] == METRICS else Detail.VARS
        return respond(head, await self._look(detail), self._options)

    async def _read_head(self, sock: socket.socket) -> RequestHead | None:
        """Return the request's head; None when the client has closed before it was whole. Raises `BadRequestError`."""
        reader = HttpReader(self._endpoint)
        while (head := reader.next_head()) is None:
            data = await _receive(sock)
            if not data:
                return None
            reader.receive_data(data)
        return head

    async def _look(self, detail: Detail) -> InstanceStatistics | None:
        """Return the statistics of now. Those who wait for the same are told the same."""
        asked = anyio.current_time()
        if self._options.stats_no_cores:
            detail = Detail.WORKERS
        async with self._looking:
            if self._seen[0] <= asked or self._seen[1] < detail:
                began = anyio.current_time()
                self._seen = began, detail, await self._subject.look(detail)
            return self._seen[2]


def is_friend(sock: socket.socket) -> bool:
    """Whether the client runs as this user or as root."""
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return uid in (0, os.geteuid())


async def _receive(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(_HEADER_BYTES)
        except BlockingIOError:
            await anyio.wait_readable(sock)


async def _send(sock: socket.socket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            await anyio.wait_writable(sock)


async def _linger(sock: socket.socket) -> None:
    """Wait until the client has closed: closing with unread bytes would reset the connection and lose the answer."""
    sock.shutdown(socket.SHUT_WR)
    with anyio.move_on_after(_LINGER):
        while await _receive(sock):
            pass
