"""Every error that uwsgi_async raises, and nothing else.

One root, three branches, so that a caller can tell who is at fault::

    UwsgiAsyncError
    ├── UsageError                 you: the call, the option or the app is wrong
    │   ├── OptionError            an option's name or value (also a ValueError)
    │   ├── AddressError           an address that cannot be understood (also a ValueError)
    │   ├── AppLoadError           the app cannot be found or imported
    │   ├── AppError               the app broke the WSGI contract (also an AssertionError)
    │   ├── NoRequestError         a request-bound function outside a request (also a SystemError, as in uWSGI)
    │   ├── NoInstanceError        a function of an instance in a process that is none of it (also a RuntimeError)
    │   ├── NotConfiguredError     a function of a subsystem that no option has enabled (also a RuntimeError)
    │   ├── SignalError            a signal, its target or its timer that cannot be (also a ValueError)
    │   ├── MuleError              a mule or farm that is not there, or a mule's function elsewhere (also a ValueError)
    │   ├── SignalQueueFullError   a signal without a place, where nobody may wait (also a BlockingIOError)
    │   ├── TermError              what cannot be an Erlang term, or none of Python's values (also a ValueError)
    │   ├── DeadlockError          a wait that nobody could end (also a RuntimeError)
    │   ├── NoLoopError            an awaitable without a running event loop (also a RuntimeError)
    │   └── WouldBlockLoopError    a blocking face called on the event loop itself (also a RuntimeError)
    ├── PeerError                  they: what came over the wire
    │   ├── BadRequestError        a request that is malformed or over a limit; carries the HTTP status
    │   │   ├── WebSocketHandshakeError  a websocket that cannot be opened (also an OSError, as in uWSGI)
    │   │   └── ChunkedInputError  a chunk that is malformed or too large (also an OSError, as in uWSGI)
    │   ├── BadMessageError        a datagram of SNMP that is malformed or no request
    │   ├── PeerTimeoutError       the peer was too slow (also a TimeoutError and so an OSError)
    │   ├── DisconnectedError      the peer went away (also a ConnectionError and so an OSError)
    │   │   └── WebSocketClosedError  a websocket is over, in order or not; carries its close code and reason
    │   └── NodeError              another server that was asked, such as by RPC; no fault of the client
    │       ├── NodeGoneError      it is not there, or went away (also a ConnectionError and so an OSError)
    │       ├── NodeTimeoutError   it was too slow (also a TimeoutError and so an OSError)
    │       ├── BadAnswerError     its answer is malformed or exceeds a limit (also a ValueError)
    │       └── ErlangError        an Erlang node says what is none of the protocol (also a ValueError, as in uWSGI)
    │           └── NodeDownError  there is no such node, or it refuses or has gone (also a NodeGoneError)
    └── BrokenError                it broke: the machine or the server itself
        ├── BindError              a listening socket could not be opened (also an OSError)
        ├── StoreError             a file that keeps shared state is damaged or cannot be used
        └── SpoolError             a task could not be written, and nothing of it is left (also a ValueError)

Each message says what was expected, what came, and what to do.
Foreign errors are translated at the seam where they enter, never further in.
"""

from typing import ClassVar


class UwsgiAsyncError(Exception):
    """The root: ``except UwsgiAsyncError`` catches all errors of this package and no others.

    ``exit_status``: what the command ends with because of one. A supervisor can tell by it what would be in vain.
    """

    exit_status: ClassVar[int] = 1


class UsageError(UwsgiAsyncError):
    """The caller, the operator or the app did something wrong."""

    exit_status = 2


class OptionError(UsageError, ValueError):
    """An option is unknown, or its value is not of the declared kind."""


class AddressError(UsageError, ValueError):
    """An address is in none of the spellings of `uwsgi_async.wire.address`."""


class AppLoadError(UsageError):
    """The app's file, module or callable cannot be found, or its import raised (see ``__cause__``)."""

    exit_status = 22  # as uWSGI's, with need-app (UWSGI_FAILED_APP_CODE)


class AppError(UsageError, AssertionError):
    """The app broke the contract of PEP 3333: no `start_response`, a chunk that is not bytes, and so on."""


class NoRequestError(UsageError, SystemError):
    """A function of the current request was called where there is no request."""


class NoInstanceError(UsageError, RuntimeError):
    """A function that asks the instance was called in a process where none runs."""


class NotConfiguredError(UsageError, RuntimeError):
    """A function of a subsystem was called that no option has enabled; the message names the option."""


class SignalError(UsageError, ValueError):
    """A signal cannot be registered or raised as it was asked: the number, the target, the timer's numbers."""


class MuleError(UsageError, ValueError):
    """There is no such mule or farm, or a message to mules was asked for in what is no mule."""


class SignalQueueFullError(UsageError, BlockingIOError):
    """A signal was not raised, because the queue of its target is full and the caller may not wait."""


class TermError(UsageError, ValueError):
    """A value has no form as an Erlang term, or a term has none as a value of Python's.

    ``end``: of a term that has come, where it ends; 0: unknown.
    """

    def __init__(self, reason: str, end: int = 0) -> None:
        super().__init__(reason)
        self.end = end


class DeadlockError(UsageError, RuntimeError):
    """Somebody would wait for what only they themselves can give: a lock that they hold."""


class NoLoopError(UsageError, RuntimeError):
    """There is no running asyncio or trio event loop to wait on."""


class WouldBlockLoopError(UsageError, RuntimeError):
    """A blocking function was called on the event loop's thread, outside a core's portal."""


class PeerError(UwsgiAsyncError):
    """The other side of a connection is at fault."""


class BadRequestError(PeerError):
    """A request is malformed or exceeds a limit.

    ``status`` is the HTTP status to answer with, an int such as 400, 413 or 431.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    def __repr__(self) -> str:
        return f"BadRequestError({self.status}, {str(self)!r})"


class WebSocketHandshakeError(BadRequestError, OSError):
    """A request cannot become a websocket: it asks for none, or its handshake is malformed. RFC 6455, 4.2."""


class BadMessageError(PeerError):
    """A datagram of SNMP is malformed, over a limit, or something that an agent is not asked."""


class ChunkedInputError(BadRequestError, OSError):
    """`uwsgi_async.chunked_read` met something that is no chunk, or is larger than the option chunked-input-limit."""


class PeerTimeoutError(PeerError, TimeoutError):
    """The peer did not send, or did not take, bytes within the time allowed."""


class DisconnectedError(PeerError, ConnectionError):
    """The peer closed or reset the connection while it was still needed."""


class WebSocketClosedError(DisconnectedError):
    """A websocket is over, in order or not: there is nothing to receive any more, and nobody to send to.

    ``code``: the close code, of the client or our own (RFC 6455, 7.4.1); 1005 when the client gave none, 1006 when
    there was no close frame at all. ``reason``: the text that came with it, mostly "".
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the websocket is closed with {code}{reason and f': {reason}'}")
        self.code = code
        self.reason = reason

    @property
    def clean(self) -> bool:
        """Whether it ended as websockets are meant to: 1000, 1001 (the page was left) or no code."""
        return self.code in (1000, 1001, 1005)


class NodeError(PeerError):
    """Another server that this one has asked is at fault. In an app it is the app's error: its client gets a 500."""


class NodeGoneError(NodeError, ConnectionError):
    """Another server cannot be reached, or has closed the connection while it was still needed."""


class NodeTimeoutError(NodeError, TimeoutError):
    """Another server did not send, or did not take, bytes within the time allowed."""


class BadAnswerError(NodeError, ValueError):
    """What another server has answered is none, or larger than it may be."""


class ErlangError(NodeError, ValueError):
    """An Erlang node, or its epmd, has said what is none of the protocol."""


class NodeDownError(ErlangError, NodeGoneError):
    """There is no such Erlang node, it refuses this one, or the connection to it has ended while it was needed."""


class BrokenError(UwsgiAsyncError):
    """The machine or the server itself failed."""


class BindError(BrokenError, OSError):
    """A listening socket could not be opened; ``__cause__`` is the system's error."""

    exit_status = 3


class StoreError(BrokenError):
    """A file that keeps shared state between two runs is damaged, in use elsewhere, or of another size."""


class SpoolError(BrokenError, ValueError):
    """A task could not be written for the spooler, and nothing of it is left; ``__cause__`` is the system's error."""
