"""The options of functions that other instances call, and of calling theirs.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`), the functions
(`peers.functions`).
"""

from dataclasses import dataclass

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcOptions:
    """RPC. For `peers` and `cores.rpc`."""

    rpc_max: int = option(64, "rpc-max", help="functions that may be registered for RPC", minimum=1, maximum=65535)
    rpc_max_size: int = option(
        64 << 20,
        "rpc-max-size",
        unit="bytes",
        help="longest result that is taken from another instance, and longest call that is longer than a packet",
        minimum=65536,
        maximum=1 << 40,
    )
