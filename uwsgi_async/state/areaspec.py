"""What a shared area is made of: the options ``sharedarea`` and ``py-sharedarea``, understood and checked.

What lives here: `AreaSpec`, `area_specs`. What does not: the memory (`sharedarea`). Source: core/sharedarea.c.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from uwsgi_async.errors import OptionError
from uwsgi_async.options.keyval import number, parse_keyval
from uwsgi_async.options.settings import SharedAreaOptions

_PAGE = os.sysconf("SC_PAGE_SIZE")
_KEYS = ("pages", "file", "fd", "ptr", "size", "offset")
_LARGEST = 2**47  # bytes; what a process can address


@dataclass(frozen=True, slots=True)
class AreaSpec:
    """One area of ``size`` bytes. ``fd``: the file behind it, from ``offset``; None: memory without a name."""

    size: int
    fd: int | None = None
    offset: int = 0


def area_specs(options: SharedAreaOptions) -> list[AreaSpec]:
    """Return the areas in the order of their numbers; files among them are open.

    Raises `OptionError` for what cannot be; then no file is left open.
    """
    specs: list[AreaSpec] = []
    try:
        for text in options.sharedarea:
            specs.append(_spec(text))  # noqa: PERF401 - what is open must be known when the next one fails
        for text in options.py_sharedarea:
            specs.append(AreaSpec(number(text, "the number of bytes", "py-sharedarea", 1, _LARGEST)))  # noqa: PERF401
    except BaseException:
        for spec in specs:
            if spec.fd is not None:
                os.close(spec.fd)
        raise
    return specs


def _spec(text: str) -> AreaSpec:
    if "=" not in text:
        return AreaSpec(_PAGE * number(text, "the number of pages", "sharedarea", 1, _LARGEST // _PAGE))
    values = parse_keyval(text, _KEYS, "sharedarea")
    if "ptr" in values:
        raise OptionError(
            f"sharedarea: ptr (in {text!r}) names an address of a C program's memory, and there is none here: use "
            f"pages, size, file or fd"
        )
    offset = number(values.get("offset", "0"), "offset", "sharedarea", 0, _LARGEST)
    if offset % _PAGE:
        raise OptionError(f"sharedarea: offset must be a multiple of {_PAGE}, the memory's page size, not {offset}")
    pages = number(values["pages"], "pages", "sharedarea", 1, _LARGEST // _PAGE) if "pages" in values else 0
    size = number(values["size"], "size", "sharedarea", 1, _LARGEST) if "size" in values else 0
    if "file" in values:
        return _of_file(_open(values["file"]), size or pages * _PAGE, offset, text)
    if "fd" in values:
        fd = number(values["fd"], "fd", "sharedarea", 0, 2**31 - 1)
        return _of_file(_duplicate(fd), size or pages * _PAGE, offset, text)
    pages = pages or -(-size // _PAGE)  # memory comes in whole pages
    if not pages:
        raise OptionError(f"sharedarea: {text!r} has no size: give it one with pages or size")
    return AreaSpec(pages * _PAGE)


def _of_file(fd: int, size: int, offset: int, text: str) -> AreaSpec:
    """Check that the file is as large as the area: beyond its end the kernel would kill who reads or writes."""
    try:
        status = os.fstat(fd)
        regular = stat.S_ISREG(status.st_mode)
        if not size and regular:
            size = status.st_size - offset
        if size <= 0:
            raise OptionError(f"sharedarea: {text!r} has no size: give it one with pages or size")
        if regular and status.st_size < offset + size:
            raise OptionError(
                f"sharedarea: {text!r} needs {offset + size} bytes, but the file has {status.st_size}: make it larger "
                f"(truncate -s {offset + size}) or the area smaller"
            )
    except BaseException:
        os.close(fd)
        raise
    return AreaSpec(size, fd, offset)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise OptionError(f"sharedarea: {path!r} cannot be opened to read and write: {error.strerror}") from error


def _duplicate(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError as error:
        raise OptionError(f"sharedarea: fd {fd} cannot be used: {error.strerror}; is it open?") from error
