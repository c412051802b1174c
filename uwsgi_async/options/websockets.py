"""The options of websockets.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`), the websockets
themselves (`cores.websocket`).
"""

from dataclasses import dataclass

from uwsgi_async.options.declare import option

_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """Websockets. For `cores.websocket`."""

    websockets_ping_freq: float = option(
        30.0,
        "websockets-ping-freq",
        "websocket-ping-freq",
        unit="seconds",
        help="ping a websocket's client that has been silent so long; 0 = never",
        minimum=0,
    )
    websockets_pong_tolerance: float = option(
        3.0,
        "websockets-pong-tolerance",
        "websocket-pong-tolerance",
        unit="seconds",
        help="time for the client to answer a ping; then the websocket is closed",
        minimum=0.001,
    )
    websockets_max_size: int = option(
        1024,
        "websockets-max-size",
        "websocket-max-size",
        help="largest message of a websocket's client, in KB",
        minimum=1,
    )
    websockets_deflate: bool = option(
        True, "websockets-deflate", help="compress messages of websockets for clients that offer it (RFC 7692)"
    )

    @property
    def max_message(self) -> int:
        """The bytes of the largest message."""
        return self.websockets_max_size * _KIB
