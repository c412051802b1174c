"""The chapter of SNMP: numbers of the app's that the tools of network management read (option ``snmp``).

There are 100 slots, each of which is a Counter32, a Counter64 or a Gauge32, whatever the last call has made of it; an
agent tells slot N as 1.3.6.1.4.1.35156.17.2.N. All processes of the instance share them. In the `uwsgi` module these
functions are only there when the option ``snmp`` or ``snmp-community`` is given; here each raises `NotConfiguredError`
without it. Source: plugins/python/uwsgi_pymodule.c; uWSGI's page "The embedded SNMP server".

Numbers are taken modulo 2**32, for a Counter64 modulo 2**64, and wrap around there; gauges too, as in uWSGI.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

from uwsgi_async.errors import NotConfiguredError
from uwsgi_async.snmp.objects import SLOTS, Kind, wrapped
from uwsgi_async.snmp.values import SnmpValues

__all__ = [
    "snmp_decr_counter32",
    "snmp_decr_counter64",
    "snmp_decr_gauge",
    "snmp_incr_counter32",
    "snmp_incr_counter64",
    "snmp_incr_gauge",
    "snmp_set_community",
    "snmp_set_counter32",
    "snmp_set_counter64",
    "snmp_set_gauge",
]

OPTION = "snmp"
"""The option without which the functions are not in the `uwsgi` module."""

_MOST_BYTE = 255

_values: SnmpValues | None = None


@contextmanager
def using(values: SnmpValues) -> Iterator[None]:
    """Let the functions of this chapter use ``values`` while the block runs."""
    global _values
    before, _values = _values, values
    try:
        yield
    finally:
        _values = before


def is_configured() -> bool:
    """Return whether the instance that runs has these numbers."""
    return _values is not None


def snmp_set_counter32(oid: int, value: int, /) -> bool | None:
    """Let slot ``oid`` be a Counter32 of this value. True; None when it is not 1 to 100.

    Raises OverflowError for an ``oid`` below 0 or above 255, as in uWSGI, where it is a byte.
    """
    return _set(Kind.COUNTER32, oid, value)


def snmp_set_counter64(oid: int, value: int, /) -> bool | None:
    """Let slot ``oid`` be a Counter64 of this value. True, None and OverflowError as `snmp_set_counter32`."""
    return _set(Kind.COUNTER64, oid, value)


def snmp_set_gauge(oid: int, value: int, /) -> bool | None:
    """Let slot ``oid`` be a Gauge32 of this value. True, None and OverflowError as `snmp_set_counter32`."""
    return _set(Kind.GAUGE, oid, value)


def snmp_incr_counter32(oid: int, value: int = 1, /) -> bool | None:
    """Add to slot ``oid``, which is a Counter32 then. True, None and OverflowError as `snmp_set_counter32`."""
    return _add(Kind.COUNTER32, oid, value, 1)


def snmp_incr_counter64(oid: int, value: int = 1, /) -> bool | None:
    """Add to slot ``oid``, which is a Counter64 then. True, None and OverflowError as `snmp_set_counter32`.

    All of ``value`` is added; real uWSGI takes 32 bits of it.
    """
    return _add(Kind.COUNTER64, oid, value, 1)


def snmp_incr_gauge(oid: int, value: int = 1, /) -> bool | None:
    """Add to slot ``oid``, which is a Gauge32 then. True, None and OverflowError as `snmp_set_counter32`."""
    return _add(Kind.GAUGE, oid, value, 1)


def snmp_decr_counter32(oid: int, value: int = 1, /) -> bool | None:
    """Subtract from slot ``oid``, which is a Counter32 then. True, None and OverflowError as `snmp_set_counter32`."""
    return _add(Kind.COUNTER32, oid, value, -1)


def snmp_decr_counter64(oid: int, value: int = 1, /) -> bool | None:
    """Subtract from slot ``oid``, which is a Counter64 then. Else as `snmp_incr_counter64`."""
    return _add(Kind.COUNTER64, oid, value, -1)


def snmp_decr_gauge(oid: int, value: int = 1, /) -> bool | None:
    """Subtract from slot ``oid``, which is a Gauge32 then. True, None and OverflowError as `snmp_set_counter32`."""
    return _add(Kind.GAUGE, oid, value, -1)


def snmp_set_community(community: str, /) -> bool:
    """Let the agent answer who sends ``community`` from now on, and nobody else; "" is nobody. Always True.

    What is longer than 72 bytes is cut, which the log tells. Raises TypeError for what is not str, ValueError for a
    text with NUL in it.
    """
    values = _the_values()
    if not isinstance(community, str):
        raise TypeError(f"snmp_set_community() argument must be str, not {type(community).__name__}")
    if "\0" in community:
        raise ValueError("snmp_set_community: expected a text without NUL, as in uWSGI")
    values.set_community(community.encode("utf-8"))
    return True


def _set(kind: Kind, oid: int, value: int) -> bool | None:
    values, slot = _the_values(), _slot(oid)
    number = wrapped(kind, index(value))
    if slot is None:
        return None
    values.set(slot, kind, number)
    return True


def _add(kind: Kind, oid: int, value: int, sign: int) -> bool | None:
    values, slot = _the_values(), _slot(oid)
    number = wrapped(kind, index(value))
    if slot is None:
        return None
    values.add(slot, kind, sign * number)
    return True


def _slot(oid: int) -> int | None:
    number = index(oid)
    if not 0 <= number <= _MOST_BYTE:
        raise OverflowError(f"the oid of an SNMP value is a number from 1 to {SLOTS}, but {oid} came")
    return number if 1 <= number <= SLOTS else None


def _the_values() -> SnmpValues:
    if _values is None:
        raise NotConfiguredError(
            "this instance has no SNMP values: give it the option snmp, such as snmp = 127.0.0.1:161; "
            "it needs pyasn1: pip install 'uwsgi-async[snmp]'"
        )
    return _values
