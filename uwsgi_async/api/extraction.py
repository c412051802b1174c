"""The chapter of things that are read from somewhere: files, URLs, commands, symbols of the running program.

What lives here: `extract` and `embedded_data`. What does not: config files (`options.config`), packets (`information`).
Source: uwsgi_open_and_read and its schemes (core/io.c); plugins/python/uwsgi_pymodule.c. Real uWSGI ends the process
when something cannot be read; here that is None, and a line in the log.
"""

from __future__ import annotations

import ctypes
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio
import anyio.to_thread

__all__ = ["embedded_data", "extract"]

logger = logging.getLogger("uwsgi_async")

_LARGEST: Final = 64 << 20  # bytes of an answer over HTTP
_HTTP_TIMEOUT: Final = 30.0  # seconds without a byte
_NOT_HERE: Final = {
    "data": "it is appended to uWSGI's own program: use a file, or importlib.resources",
    "section": "it is in uWSGI's own program: use a file, or importlib.resources",
    "emperor": "there is no emperor: use a file",
}


async def extract(name: str) -> bytes | None:
    """Return what a path or URL has: a file, ``-`` (standard input), ``fd://``, ``exec://``, ``http://``, ``sym://``...

    ``exec://`` is what a shell's command prints; ``call://`` and ``callint://`` what a C function without arguments
    returns. None when it is empty or cannot be read; then a line in the log says why. Raises ValueError for the schemes
    that only mean something inside uWSGI's own program (data, section, emperor).
    """
    if not isinstance(name, str):
        raise TypeError(f"extract() argument 1 must be str, not {type(name).__name__}")
    scheme, colon, rest = name.partition("://")
    if colon and scheme in _NOT_HERE:
        raise ValueError(f"extract: {name!r} cannot be read here, {_NOT_HERE[scheme]}")
    try:
        if colon and scheme in _SCHEMES:
            return await _SCHEMES[scheme](rest) or None
        return await anyio.to_thread.run_sync(_read, 0 if name == "-" else name, abandon_on_cancel=True) or None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or error
        logger.error("extract: cannot read %r: %s", name, reason)
        return None


def embedded_data(symbol: str) -> bytes:
    """Return the bytes between ``_binary_SYMBOL_start`` and ``_binary_SYMBOL_end`` of the running program.

    That is what ``ld -r -b binary`` makes of a file; the program is Python and the libraries that it has loaded
    globally. Raises ValueError when there is no such symbol.
    """
    if not isinstance(symbol, str):
        raise TypeError(f"embedded_data() argument 1 must be str, not {type(symbol).__name__}")
    start, end = _address(f"_binary_{symbol}_start"), _address(f"_binary_{symbol}_end")
    if not start or not end:
        raise ValueError(f"unable to find symbol {symbol}")
    return ctypes.string_at(start, end - start)


def _read(place: str | int) -> bytes:
    with open(place, "rb", closefd=isinstance(place, str)) as file:
        return file.read()


async def _fd(number: str) -> bytes:
    return await anyio.to_thread.run_sync(_read, int(number), abandon_on_cancel=True)


async def _exec(command: str) -> bytes:
    return (await anyio.run_process(["/bin/sh", "-c", command], check=False, stderr=None)).stdout


async def _http(rest: str) -> bytes:
    return await anyio.to_thread.run_sync(_fetch, f"http://{rest}", abandon_on_cancel=True)


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT) as answer:
            data: bytes = answer.read(_LARGEST + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise ValueError(f"the server answers {error.code} {error.reason}") from None
    if len(data) > _LARGEST:
        raise ValueError(f"the answer is larger than {_LARGEST} bytes")
    return data


async def _sym(name: str) -> bytes:
    address = _address(name)
    if address:  # a char *
        return ctypes.c_char_p.from_address(address).value or b""
    return embedded_data(name)


async def _call(name: str) -> bytes:
    function = _function(name)
    function.restype = ctypes.c_char_p
    result: bytes | None = await anyio.to_thread.run_sync(function)
    if result is None:
        raise ValueError(f"called symbol {name} did not return a string")
    return result


async def _callint(name: str) -> bytes:
    return str(await anyio.to_thread.run_sync(_function(name))).encode()


def _function(name: str) -> ctypes._NamedFuncPointer:
    try:
        return getattr(ctypes.PyDLL(None), name)  # type: ignore[no-any-return]
    except AttributeError:
        raise ValueError(f"unable to find symbol {name}") from None


def _address(name: str) -> int:
    """Return where a symbol of the running program is; 0 when there is none."""
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(ctypes.PyDLL(None), name))
    except ValueError:
        return 0


_SCHEMES: Final[Mapping[str, Callable[[str], Awaitable[bytes]]]] = {
    "fd": _fd,
    "exec": _exec,
    "http": _http,
    "sym": _sym,
    "call": _call,
    "callint": _callint,
}
