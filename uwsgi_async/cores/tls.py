"""TLS on a connection: the handshake, then the protocol that would be spoken without it.

What lives here: `TlsConnection`, `TlsProtocol`, which serves it until the handshake is through, and `TlsAcceptor`. What
does not: certificates and which one a name gets (`instance.certificates`), what is spoken inside (`http`, `uwsgi`).

OpenSSL never sees the socket: bytes go through two memory BIOs. So a connection waits, is parked, times out and closes
just as one without TLS; all that came with one receive is decrypted at once, so there is nothing that could lie in
OpenSSL while the connection is parked; and one without TLS has no line of this in its way.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from uwsgi_async.cores.connection import RECEIVE_SIZE, Connection, ConnectionProtocol
from uwsgi_async.cores.listener import SocketAcceptor
from uwsgi_async.errors import DisconnectedError

if TYPE_CHECKING:
    import socket

    from uwsgi_async.cores.core import Core
    from uwsgi_async.cores.pool import Pool

logger = logging.getLogger("uwsgi_async")

_RECORD = 16 * 1024  # bytes that one record can carry (RFC 8446, 5.1)
_SLICE = _RECORD + 512  # bytes: a memory BIO keeps room for the most that it ever held, so it is never given more
_BATCH = 4  # records that are sent with one call
_LONGEST_HELLO = 128 * 1024  # bytes of a handshake; OpenSSL takes 100 KiB of a client's certificates
_FILE_PIECE = 64 * 1024  # bytes
_LARGEST_BACKLOG = 64 * 1024  # bytes that are to be sent because of what came, to a client that takes none
_CERTIFICATES = 32  # of clients, whose protocols are kept; each remembers heads, up to 2 MB of them


class TlsObject(ssl.SSLObject):
    """``wanted``: the context that `choose_context` would have instead of this object's own."""

    wanted: ssl.SSLContext | None = None


@contextmanager
def _quiet_about_names() -> Iterator[None]:
    """Print no traceback for a name in a handshake that is not ASCII, as `ssl` does: any client can send one.

    The handshake fails, and that is told as for all others.
    """
    before = sys.unraisablehook

    def print_others(unraisable: sys.UnraisableHookArgs) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            before(unraisable)

    sys.unraisablehook = print_others
    try:
        yield
    finally:
        sys.unraisablehook = before


class Contexts(Protocol):
    """The certificates of a listener."""

    @property
    def context(self) -> ssl.SSLContext:
        """What a handshake begins with: of the certificate for clients that ask for no name, or one that is not known.

        Where there are others, its ``sni_callback`` sets ``TlsObject.wanted`` and refuses.
        """


class TlsConnection(Connection):
    """A connection with TLS on it. Until `shake_hands` has returned True, nothing else but closing is possible."""

    __slots__ = (
        "_broken",
        "_ended",
        "_hello",
        "_incoming",
        "_leftover",
        "_outgoing",
        "_owed",
        "_plain",
        "_tls",
        "_unsent",
        "born",
    )

    movable = False  # what OpenSSL knows of it cannot go to another process

    def __init__(self, sock: socket.socket, peer: str, protocol: ConnectionProtocol, pool: Pool) -> None:
        super().__init__(sock, peer, protocol, pool)
        self.born = pool.poller.time()
        self._tls: TlsObject | None = None
        self._incoming: ssl.MemoryBIO | None = None
        self._outgoing: ssl.MemoryBIO | None = None
        self._hello = b""  # of a handshake, as it came
        self._leftover = False  # bytes behind the handshake have come with it
        self._unsent = b""  # encrypted
        self._owed = 0  # bytes whose encrypted form is in _unsent, and that the caller has been told are not sent
        self._plain = b""  # decrypted, and more than was asked for
        self._ended = self._broken = False

    @property
    def client_certificate(self) -> bytes | None:
        """The certificate of the client, in DER; None when it has shown none."""
        return None if self._tls is None else self._tls.getpeercert(binary_form=True)

    @property
    def client_subject(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """The subject of that certificate, as `ssl.SSLSocket.getpeercert` tells it; () without any."""
        certificate: dict[str, Any] = (None if self._tls is None else self._tls.getpeercert()) or {}
        subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
        return subject

    # --- handshake ----------------------------------------------------------------------------------------------

    def shake_hands(self, contexts: Contexts) -> bool:
        """Go on with the handshake as far as the bytes reach that have come; True when it is through.

        Raises `ssl.SSLError` when it has failed; then the client has been told why. Raises `DisconnectedError` when the
        client is gone, or sends more than a handshake can be.
        """
        while True:
            data = Connection.receive_nowait(self)
            if data is None:
                return False
            if not data:
                raise DisconnectedError("the client went away during the TLS handshake")
            self._hello += data
            if len(self._hello) > _LONGEST_HELLO:
                raise DisconnectedError(f"the client sent more than {_LONGEST_HELLO} bytes of TLS handshake")
            if self._step(self._feed(data) if self._tls is not None else self._begin(contexts.context, self._hello)):
                self._hello = b""
                return True

    def _begin(self, context: ssl.SSLContext, data: bytes) -> TlsObject:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        assert isinstance(tls, TlsObject)
        self._tls = tls
        return self._feed(data)

    def _feed(self, data: bytes) -> TlsObject:
        assert self._tls is not None
        assert self._incoming is not None
        self._incoming.write(data)
        return self._tls

    def _step(self, tls: TlsObject) -> bool:
        try:
            if tls.context.sni_callback is None:
                tls.do_handshake()
            else:
                with _quiet_about_names():
                    tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush_all()
            return False
        except ssl.SSLError:
            if tls.wanted is not None:
                # Begin again with the context of the name that the client asks for. Python can exchange the context of
                # a handshake that goes on, but OpenSSL would keep the old one's demand for a client's certificate.
                return self._step(self._begin(tls.wanted, self._hello))
            self._flush_all()
            raise
        self._flush_all()
        self._leftover = self._incoming is not None and self._incoming.pending > 0
        return True

    # --- receiving ----------------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether bytes were decrypted that nobody has received: then the socket may well not be readable."""
        return bool(self._plain)

    def receive_nowait(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """See `Connection.receive_nowait`. An end that the client has not announced (close_notify) is an end, too."""
        if self.lingering:
            return Connection.receive_nowait(self)  # what comes now is not looked at
        data: bytes | None = self._plain
        if data:
            self._plain = b""
        else:
            data = self._receive_decrypted()
            if not data:
                return data
        if len(data) > size:
            data, self._plain = data[:size], data[size:]
            self.readable = True  # and stays so when these are received: then the socket is asked
        return data

    def _receive_decrypted(self) -> bytes | None:
        if self._ended:
            return b""
        if self._leftover:
            self._leftover = False
            data = self._decrypt()
            if data or self._ended:
                return data
        while True:
            encrypted = Connection.receive_nowait(self)
            if encrypted is None:
                return None
            if not encrypted:
                self._ended = True
                return b""
            if len(encrypted) <= _SLICE:
                self._feed(encrypted)
                data = self._decrypt()
            else:
                data = self._decrypt_slices(encrypted)
            if data or self._ended:
                return data
            if not self.readable:
                return None

    def _decrypt_slices(self, encrypted: bytes) -> bytes:
        pieces = []
        for start in range(0, len(encrypted), _SLICE):
            self._feed(encrypted[start : start + _SLICE])
            pieces.append(self._decrypt())
            if self._ended:
                break
        return b"".join(pieces)

    def _decrypt(self) -> bytes:
        """Return all that can be decrypted now; notice an end."""
        assert self._tls is not None
        assert self._incoming is not None
        tls, incoming = self._tls, self._incoming
        pieces: list[bytes] = []
        try:
            while True:
                data = tls.read(_RECORD)
                if not data:
                    self._ended = True
                    break
                if not incoming.pending and not tls.pending():
                    if not pieces:
                        return data  # nearly always
                    pieces.append(data)
                    break
                pieces.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            logger.info("%s: TLS: %s", self.peer or "-", error)
            self._ended = self._broken = True
        self._answer()
        if self._ended:
            self.readable = True  # no event will tell of it, and it is to be seen after these bytes
        return b"".join(pieces)

    def _answer(self) -> None:
        """Send what OpenSSL has to say about what came: a new key, an alert."""
        assert self._outgoing is not None
        if self._outgoing.pending:
            try:
                self._flush_all()
            except DisconnectedError:
                self._ended = self._broken = True
            if len(self._unsent) > _LARGEST_BACKLOG:
                self._ended = self._broken = True

    # --- sending ------------------------------------------------------------------------------------------------

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `Connection.send_nowait`. Who is told that not all was taken must come back with the rest, as it was.

        A record is sent whole or not at all, as far as the client can see; so bytes whose record is stuck count as not
        taken, though they are encrypted already.
        """
        if self._broken or self._tls is None or self._outgoing is None:
            raise DisconnectedError("the TLS connection is broken")
        if self._unsent and not self._flush():
            return 0
        taken, self._owed = self._owed, 0
        size = len(data)
        view = memoryview(data)
        try:
            while taken < size:
                count = 0
                for _ in range(_BATCH):
                    count += self._tls.write(view[taken + count : taken + count + _RECORD])
                    self._unsent += self._outgoing.read()
                    if taken + count == size:
                        break
                if not self._flush():
                    self._owed = count
                    break
                taken += count
        except ssl.SSLError as error:
            self._broken = True
            raise DisconnectedError(f"TLS: {error}") from error
        return taken

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        """See `Connection.send_file`: here the bytes have to be read, to be encrypted."""
        sent = 0
        while sent < count:
            data = os.pread(fd, min(_FILE_PIECE, count - sent), offset + sent)
            if not data:
                break
            await self.send(data)
            sent += len(data)
        return sent

    def _flush(self) -> bool:
        """Send what is encrypted; return whether all of it is out."""
        sent = Connection.send_nowait(self, self._unsent)
        self._unsent = self._unsent[sent:]
        return not self._unsent

    def _flush_all(self) -> None:
        assert self._outgoing is not None
        self._unsent += self._outgoing.read()
        if self._unsent:
            self._flush()

    # --- closing ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if not self.closed:
            self._say_goodbye()
        super().close()

    def linger(self) -> None:
        if not self.closed:
            self._say_goodbye()
        super().linger()

    def _say_goodbye(self) -> None:
        """Announce the end (close_notify), unless a record has been cut: the client is to notice that."""
        tls, self._tls = self._tls, None
        if tls is not None and not self._broken and not self._unsent:
            try:
                tls.unwrap()
            except ssl.SSLError:
                pass  # it is not announced to us yet, or the handshake has not come so far
            try:
                self._flush_all()
            except DisconnectedError:
                pass
        self._incoming = self._outgoing = None
        self._leftover = False


class TlsProtocol:
    """Serves connections until their handshake is through; then each goes on with the protocol that is spoken inside.

    ``inside``: returns that protocol, for a connection whose handshake is through. ``timeout``: seconds that a
    handshake may take. ``verbose``: log those that fail.
    """

    def __init__(
        self,
        contexts: Contexts,
        inside: Callable[[TlsConnection], ConnectionProtocol],
        timeout: float,
        verbose: bool,
    ) -> None:
        self._contexts = contexts
        self._inside = inside
        self._timeout = timeout
        self._log = logger.warning if verbose else logger.debug

    async def serve(self, connection: Connection, core: Core) -> None:
        """Take one step of the handshake. A core is held for that long only, however slow the client is."""
        assert isinstance(connection, TlsConnection)
        try:
            through = connection.shake_hands(self._contexts)
        except (ssl.SSLError, DisconnectedError) as error:
            self._log("%s: TLS handshake failed: %s", connection.peer or "-", error)
            connection.linger()
            return
        if through:
            connection.protocol = self._inside(connection)
            await connection.protocol.serve(connection, core)
        else:
            connection.park(None, connection.born + self._timeout)

    def expire(self, connection: Connection) -> None:
        self._log("%s: the TLS handshake did not end within %g s", connection.peer or "-", self._timeout)
        connection.close()


class ClientProtocols:
    """The protocol inside TLS for each client's certificate: what an app is told of that is the same for all requests.

    So the memory of heads that one of them has holds requests with this certificate only. ``make``: makes one, for the
    certificate in DER and its subject; (b"", ()) is a client without any.
    """

    def __init__(self, make: Callable[[bytes, tuple[tuple[tuple[str, str], ...], ...]], ConnectionProtocol]) -> None:
        self._make = make
        self._without = make(b"", ())
        self._by_certificate: dict[bytes, ConnectionProtocol] = {}

    def __call__(self, connection: TlsConnection) -> ConnectionProtocol:
        certificate = connection.client_certificate
        if not certificate:
            return self._without
        protocol = self._by_certificate.get(certificate)
        if protocol is None:
            if len(self._by_certificate) >= _CERTIFICATES:
                self._by_certificate.clear()  # those that still come are back in a moment
            protocol = self._make(certificate, connection.client_subject)
            self._by_certificate[certificate] = protocol
        return protocol


class TlsAcceptor(SocketAcceptor):
    """Accepts connections that TLS is to be spoken on."""

    _make = TlsConnection
