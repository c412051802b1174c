"""The options of the Erlang node.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`), the node (`erlang`).
"""

from dataclasses import dataclass
from typing import ClassVar

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class ErlangOptions:
    """The Erlang node. For `erlang`."""

    FIXED: ClassVar[bool] = True

    erlang: str | None = option(None, "erlang", help="be the Erlang node of this name: name@host, or a name alone")
    erlang_cookie: str | None = option(
        None, "erlang-cookie", help="the cookie that all nodes share; otherwise it is read from ~/.erlang.cookie"
    )
    erlang_ticktime: float = option(
        60.0,
        "erlang-ticktime",
        unit="seconds",
        help="net_ticktime of the other nodes: a node that is silent for so long counts as dead",
        minimum=1,
        maximum=86400,
    )
    erlang_message_size: int = option(
        16 << 20,
        "erlang-message-size",
        unit="bytes",
        help="longest message that is taken from another node",
        minimum=65536,
        maximum=1 << 30,
    )
