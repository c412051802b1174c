"""Whether something can be connected to: the probe of uWSGI's ``add_probe("connect", address)``.

What lives here: `watch_probe`. What does not: other kinds, which came from uWSGI's plugins. Source: core/probe.c of
uWSGI 1.9.5, the last one that had probes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import anyio

from uwsgi_async.errors import AddressError
from uwsgi_async.signals.declare import Probe
from uwsgi_async.wire.address import AbstractAddress, FdAddress, TcpAddress, parse_address

logger = logging.getLogger("uwsgi_async")

T = TypeVar("T")

_SHORTEST = 0.001  # seconds between two tries


async def watch_probe(probe: Probe, running: T, on_change: Callable[[T], None]) -> None:
    """Connect again and again; call ``on_change`` when it fails first, when it succeeds again, and so on."""
    good = True
    while True:
        error = await connect(probe)
        if (error is None) != good:
            good = error is None
            logger.info("probe %s is %s", probe.address, "good again" if good else f"bad: {error}")
            on_change(running)
        await anyio.sleep(max(probe.every, _SHORTEST))


async def connect(probe: Probe) -> str | None:
    """Connect once and close; return why it failed, None when it did not."""
    try:
        with anyio.fail_after(probe.timeout):
            async with await _open(probe.address):
                return None
    except TimeoutError:
        return f"no answer within {probe.timeout:g} s"
    except OSError as error:
        return error.strerror or str(error)
    except AddressError as error:
        return str(error)


async def _open(text: str) -> anyio.abc.ByteStream:
    address = parse_address(text)
    if isinstance(address, TcpAddress):
        return await anyio.connect_tcp(address.host or "127.0.0.1", address.port)
    if isinstance(address, FdAddress):
        raise AddressError(f"expected an address to connect to, but {text!r} came")
    return await anyio.connect_unix(f"\0{address.name}" if isinstance(address, AbstractAddress) else address.path)
