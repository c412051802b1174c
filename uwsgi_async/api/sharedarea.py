"""The chapter of shared areas: raw memory that all processes and cores of the instance share (option ``sharedarea``).

Two forms of the arguments are known. uWSGI since 2.0 gives the area's number first, and errors are ValueErrors. The
form of 1.x is without a number, for area 0: it gives None for a position that is not inside, and what is written or
counted is returned. Which form a call has is told by the number of its arguments. Only ``sharedarea_read(a, b)`` could
be either; it is the documented ``(position, length)``, so to read area ``a`` from ``b`` to its end give a length of 0.

Numbers are signed and in the machine's order. Every operation is one to everybody else, and waits while somebody
holds the area's lock: in async code it is awaited, also where it has nothing to wait for. In the `uwsgi` module
these functions are only there when the option is given. Source: plugins/python/uwsgi_pymodule.c of 1.4 and of 2.0.31,
core/sharedarea.c; uWSGI's page "SharedArea".
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from operator import index
from typing import Any, ParamSpec, TypeVar

import anyio

from uwsgi_async.api.locks import Locking, acquire_and_wait
from uwsgi_async.cores.owner import current_owner
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.errors import NotConfiguredError
from uwsgi_async.state.areamemory import AreaLockedError
from uwsgi_async.state.sharedarea import SharedArea, SharedAreas
from uwsgi_async.state.sharedarea_quick import (
    Part,
    bytes_reader,
    bytes_writer,
    number_adder,
    number_reader,
    number_writer,
)
from uwsgi_async.state.values import Data, to_bytes

__all__ = [
    "sharedarea_dec32",
    "sharedarea_dec64",
    "sharedarea_inc32",
    "sharedarea_inc64",
    "sharedarea_inclong",
    "sharedarea_memoryview",
    "sharedarea_object",
    "sharedarea_read",
    "sharedarea_read8",
    "sharedarea_read16",
    "sharedarea_read32",
    "sharedarea_read64",
    "sharedarea_readbyte",
    "sharedarea_readlong",
    "sharedarea_rlock",
    "sharedarea_unlock",
    "sharedarea_update",
    "sharedarea_wait",
    "sharedarea_wlock",
    "sharedarea_write",
    "sharedarea_write8",
    "sharedarea_write16",
    "sharedarea_write32",
    "sharedarea_write64",
    "sharedarea_writebyte",
    "sharedarea_writelong",
]

OPTION = "sharedarea"
"""The option without which the functions are not in the `uwsgi` module."""

BLOCKING: dict[str, Callable[..., Any]] = {}
"""The functions as sync code calls them, by their names."""

P = ParamSpec("P")
T = TypeVar("T")

_areas: SharedAreas | None = None
_parts: list[Part] = []  # of the same areas


@contextmanager
def using(areas: SharedAreas) -> Iterator[None]:
    """Let the functions of this chapter use ``areas`` while the block runs."""
    global _areas
    before, _areas = _areas, areas
    _parts[:] = areas.parts()
    try:
        yield
    finally:
        _areas = before
        _parts[:] = before.parts() if before is not None else []


def is_configured() -> bool:
    """Return whether the instance that runs has any shared area."""
    return _areas is not None


def _operation(call: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an awaitable of an operation, and in `BLOCKING` its form for sync code: both wait for the area's lock."""

    @wraps(call)
    async def awaitable(*args: P.args, **_: P.kwargs) -> T:  # all arguments are positional
        try:
            return call(*args)  # type: ignore[call-arg]
        except AreaLockedError as error:
            locked = error
        return await _area(locked.number).wait_and_call(current_owner(), locked.shared, call, args)

    @wraps(call)
    def blocking(*args: P.args, **_: P.kwargs) -> T:
        try:
            return call(*args)  # type: ignore[call-arg]
        except AreaLockedError as error:
            locked = error
        area, owner = _area(locked.number), current_owner()
        try:
            return area.call_nowait(owner, locked.shared, call, args)
        except AreaLockedError:
            result: T = wait_for(area.wait_and_call, owner, locked.shared, call, args, name=call.__name__)
            return result

    BLOCKING[call.__name__] = blocking
    return awaitable


# --- bytes ------------------------------------------------------------------------------------------------------------


@_operation
def sharedarea_read(*args: int) -> bytes | None:
    """Return bytes: ``(area, position, length)``, or ``(position, length)`` in area 0.

    A length of 0 is until the end. Raises ValueError for bytes that are not all inside; the second form gives None.
    """
    if len(args) == 2:
        return _or_none(_area(0).read, *map(index, args))
    number, position, length = _arguments("sharedarea_read", args, 3)
    return _area(number).read(position, length)


@_operation
def sharedarea_write(*args: int | Data) -> int | None:
    """Write bytes: ``(area, position, data)``, or ``(position, data)`` in area 0.

    Gives None. Raises ValueError when they do not all fit, and writes none of them; the second form gives the number of
    bytes, or None when they do not fit.
    """
    if len(args) == 2:
        return _or_none(_area(0).write, index(args[0]), to_bytes(args[1]))  # type: ignore[arg-type]
    if len(args) != 3:
        _arguments("sharedarea_write", (), 3)
    number, position, data = index(args[0]), index(args[1]), to_bytes(args[2])  # type: ignore[arg-type]
    _area(number).write(position, data)
    return None


# --- numbers ----------------------------------------------------------------------------------------------------------


@_operation
def sharedarea_read8(area: int, position: int, /) -> int:
    """Return a number of 8 bits, -128 to 127. Raises ValueError when the position is not inside."""
    return _get(1, area, index(position))


@_operation
def sharedarea_read16(area: int, position: int, /) -> int:
    """Return a number of 16 bits. Raises ValueError when it is not all inside."""
    return _get(2, area, index(position))


@_operation
def sharedarea_read32(area: int, position: int, /) -> int:
    """Return a number of 32 bits. Raises ValueError when it is not all inside."""
    return _get(4, area, index(position))


@_operation
def sharedarea_read64(area: int, position: int, /) -> int:
    """Return a number of 64 bits. Raises ValueError when it is not all inside."""
    return _get(8, area, index(position))


@_operation
def sharedarea_readbyte(*args: int) -> int | None:
    """Return a number of 8 bits: ``(area, position)`` as `sharedarea_read8`, or ``(position)`` in area 0.

    The second form gives None when the position is not inside.
    """
    return _read(1, "sharedarea_readbyte", args)


@_operation
def sharedarea_readlong(*args: int) -> int | None:
    """Return a number of 64 bits: ``(area, position)`` as `sharedarea_read64`, or ``(position)`` in area 0.

    The second form gives None when it is not all inside.
    """
    return _read(8, "sharedarea_readlong", args)


@_operation
def sharedarea_write8(area: int, position: int, value: int, /) -> None:
    """Write a number from 0 to 255, else OverflowError. Raises ValueError when the position is not inside."""
    _put(1, area, index(position), _limited(value, 0, 255))


@_operation
def sharedarea_write16(area: int, position: int, value: int, /) -> None:
    """Write a number of 16 bits, modulo 2**16. Raises ValueError when it is not all inside."""
    _put(2, area, index(position), index(value))


@_operation
def sharedarea_write32(area: int, position: int, value: int, /) -> None:
    """Write a number of 32 bits, modulo 2**32. Raises ValueError when it is not all inside."""
    _put(4, area, index(position), index(value))


@_operation
def sharedarea_write64(area: int, position: int, value: int, /) -> None:
    """Write a number of 64 bits. Raises ValueError when it is not all inside, OverflowError for a larger number."""
    _put(8, area, index(position), _limited(value, -(2**63), 2**63 - 1))


@_operation
def sharedarea_writebyte(*args: int) -> int | None:
    """Write a number from 0 to 255: ``(area, position, value)`` as `sharedarea_write8`, or ``(position, value)``.

    The second form is for area 0 and gives what `sharedarea_readbyte` gives then, None when the position is not inside.
    """
    return _write(1, "sharedarea_writebyte", args, 0, 255)


@_operation
def sharedarea_writelong(*args: int) -> int | None:
    """Write a number of 64 bits: ``(area, position, value)`` as `sharedarea_write64`, or ``(position, value)``.

    The second form is for area 0 and gives the value, None when it is not all inside.
    """
    return _write(8, "sharedarea_writelong", args, -(2**63), 2**63 - 1)


@_operation
def sharedarea_inc64(area: int, position: int, amount: int = 1, /) -> None:
    """Add to a number of 64 bits, which wraps around. Raises ValueError when it is not all inside."""
    _count(8, area, index(position), _limited(amount, -(2**63), 2**63 - 1))


@_operation
def sharedarea_dec64(area: int, position: int, amount: int = 1, /) -> None:
    """Subtract from a number of 64 bits, which wraps around. Raises ValueError when it is not all inside."""
    _count(8, area, index(position), -_limited(amount, -(2**63), 2**63 - 1))


@_operation
def sharedarea_inc32(area: int, position: int, amount: int = 1, /) -> None:
    """Add to a number of 32 bits, which wraps around. Raises ValueError when it is not all inside."""
    _count(4, area, index(position), _limited(amount, -(2**31), 2**31 - 1))


@_operation
def sharedarea_dec32(area: int, position: int, amount: int = 1, /) -> None:
    """Subtract from a number of 32 bits, which wraps around. Raises ValueError when it is not all inside."""
    _count(4, area, index(position), -_limited(amount, -(2**31), 2**31 - 1))


@_operation
def sharedarea_inclong(*args: int) -> int | None:
    """Add to a number of 64 bits: ``(area, position[, amount])`` as `sharedarea_inc64`, or ``(position)`` in area 0.

    The second form adds 1 and gives the new value, None when it is not all inside.
    """
    if len(args) == 1:
        return _or_none(_area(0).add, 8, index(args[0]), 1)
    if len(args) == 2:
        args = (*args, 1)
    number, position, amount = _arguments("sharedarea_inclong", args, 3)
    _count(8, number, position, _limited(amount, -(2**63), 2**63 - 1))
    return None


# --- the whole area ---------------------------------------------------------------------------------------------------


def sharedarea_memoryview(area: int, /) -> memoryview:
    """Return the whole area, to read and write in place, without any locking.

    `sharedarea_update` wakes those who wait for what is written through it. Raises ValueError for a number that is no
    area's.
    """
    return _area(area).view()


def sharedarea_object(area: int, /) -> memoryview:
    """Return the object that the area is made of: the same as `sharedarea_memoryview`.

    uWSGI has one for areas of ``py-sharedarea`` alone, a bytearray that no other process sees the changes of.
    """
    return _area(area).view()


def sharedarea_update(area: int, /) -> None:
    """Wake who waits in `sharedarea_wait`, after writing to a `sharedarea_memoryview`."""
    _area(area).update()


async def sharedarea_wait(area: int, freq: int = 0, timeout: float = 0) -> bool:
    """Wait until any process writes to the area. True; False after ``timeout`` seconds, 0 is none.

    ``freq``: milliseconds between two looks in uWSGI; here nobody polls, and it means nothing. A checkpoint. Raises
    ValueError for a number that is no area's.
    """
    with anyio.move_on_after(timeout or None):
        await _area(area).wait()
        return True
    return False


def sharedarea_rlock(area: int, /) -> Locking:
    """Lock the area for reading: ``await`` it and `sharedarea_unlock` later, or ``async with`` it.

    Others may read, too, and nobody writes. Raises `DeadlockError` when this core, or task, has it locked for writing.
    """
    return Locking(_area(area).lock, shared=True)


def sharedarea_wlock(area: int, /) -> Locking:
    """Lock the area for writing: ``await`` it and `sharedarea_unlock` later, or ``async with`` it.

    Operations of this core, or task, go on; those of all others wait. Raises `DeadlockError` when it has it locked.
    """
    return Locking(_area(area).lock)


def sharedarea_unlock(area: int, /) -> None:
    """Unlock the area, whichever core of this process has locked it. Does nothing when none has."""
    _area(area).lock.release(current_owner())


def _rlock(area: int, /) -> None:
    acquire_and_wait(_area(area).lock, "sharedarea_rlock", shared=True)


def _wlock(area: int, /) -> None:
    acquire_and_wait(_area(area).lock, "sharedarea_wlock")


BLOCKING |= {"sharedarea_rlock": _rlock, "sharedarea_wlock": _wlock}


def _shorten(name: str, make: Callable[..., Callable[..., Any]], *how: int) -> None:
    slowly = BLOCKING[name]
    BLOCKING[name] = wraps(slowly)(make(_parts, *how, slowly))


_shorten("sharedarea_read", bytes_reader)
_shorten("sharedarea_write", bytes_writer)
for _width in (1, 2, 4, 8):
    _shorten(f"sharedarea_read{8 * _width}", number_reader, _width)
    _shorten(f"sharedarea_write{8 * _width}", number_writer, _width)
for _width in (4, 8):
    _shorten(f"sharedarea_inc{8 * _width}", number_adder, _width, 1)
    _shorten(f"sharedarea_dec{8 * _width}", number_adder, _width, -1)


# --- the two forms ----------------------------------------------------------------------------------------------------


def _read(width: int, name: str, args: tuple[int, ...]) -> int | None:
    if len(args) == 1:
        return _or_none(_area(0).read_number, width, index(args[0]))
    number, position = _arguments(name, args, 2)
    return _get(width, number, position)


def _write(width: int, name: str, args: tuple[int, ...], least: int, most: int) -> int | None:
    if len(args) == 2:
        position, value = index(args[0]), _limited(args[1], least, most)

        def write() -> int:
            _area(0).write_number(width, position, value)
            return value if value < 1 << 8 * width - 1 else value - (1 << 8 * width)

        return _or_none(write)
    number, position, value = _arguments(name, args, 3)
    _put(width, number, position, _limited(value, least, most))
    return None


# All arguments are looked at before the area is: wrong kinds and sizes are told first, as in uWSGI.


def _get(width: int, area: int, position: int) -> int:
    return _area(area).read_number(width, position)


def _put(width: int, area: int, position: int, value: int) -> None:
    _area(area).write_number(width, position, value)


def _count(width: int, area: int, position: int, amount: int) -> None:
    _area(area).add(width, position, amount)


def _or_none(call: Callable[..., T], *args: Any) -> T | None:
    try:
        return call(*args)
    except ValueError:
        return None


def _arguments(name: str, args: tuple[int, ...], count: int) -> tuple[int, ...]:
    if len(args) != count:
        raise TypeError(f"{name}() takes {count - 1} or {count} arguments ({len(args)} given)")
    return tuple(map(index, args))


def _limited(value: int, least: int, most: int) -> int:
    value = index(value)
    if not least <= value <= most:
        raise OverflowError(f"expected a number from {least} to {most}, but {value} came")
    return value


def _area(number: int) -> SharedArea:
    if _areas is None:
        raise NotConfiguredError(
            "this instance has no shared area: give it one with the option sharedarea, such as sharedarea = 1 (pages)"
        )
    return _areas[number]
