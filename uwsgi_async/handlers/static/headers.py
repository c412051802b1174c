"""What is told of a file beside its bytes: content type, Expires, and which compressed variant is wanted.

What lives here: `read_types`, `type_of`, `Expiry`, `Variants`. What does not: whether and which part of the file is
sent (`conditions`).
"""

from __future__ import annotations

import logging
import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from uwsgi_async.handlers.static.conditions import http_date
from uwsgi_async.options.forms import Lifetime, read_lifetime, read_pattern, read_type_lifetime
from uwsgi_async.options.loading import StaticOptions

logger = logging.getLogger("uwsgi_async")

_SYSTEM = "/etc/mime.types"
# Of a compressed file that is asked for by its own name this is the type; Python's table has it as an encoding.
_COMPRESSED = {"gz": "application/gzip", "bz2": "application/x-bzip2", "xz": "application/x-xz"}
_SUFFIX = re.compile(rb"\.([^./]+)\Z")


def read_types(files: Sequence[str]) -> Mapping[str, str]:
    """Return content types by file name suffix: from ``files``, or /etc/mime.types without any, then Python's own.

    The first file that knows a suffix counts. A file that cannot be read is told in the log.
    """
    types: dict[str, str] = {}
    for path in files or ([_SYSTEM] if os.path.exists(_SYSTEM) else []):
        try:
            with open(path, encoding="latin-1") as file:
                for suffix, kind in _entries(file):
                    types.setdefault(suffix, kind)
        except OSError as error:
            logger.warning("!!! no %s file found !!! (mimefile: %s)", path, error.strerror)
    for suffix, kind in mimetypes.MimeTypes().types_map[True].items():
        types.setdefault(suffix.removeprefix("."), kind)
    for suffix, kind in _COMPRESSED.items():
        types.setdefault(suffix, kind)
    return types


def type_of(path: bytes, types: Mapping[str, str]) -> str | None:
    """Return the content type of a file by the suffix of its name; None when it is not known."""
    match = _SUFFIX.search(path)
    if match is None:
        return None
    suffix = match[1].decode("latin-1")
    return types.get(suffix) or types.get(suffix.lower())


class Expiry:
    """When a file expires: the first rule that fits, in uWSGI's order."""

    def __init__(self, options: StaticOptions) -> None:
        o = options
        # Of a subject the rules that count from now stand before those that count from the file's last change.
        self._rules = [
            *_rules("path", o.static_expires, o.static_expires_mtime),
            *_rules("path_info", o.static_expires_path_info, o.static_expires_path_info_mtime),
            *_rules("uri", o.static_expires_uri, o.static_expires_uri_mtime),
            *_rules("type", o.static_expires_type, o.static_expires_type_mtime),
        ]

    def value(self, subjects: Mapping[str, str], now: float, mtime: float) -> str | None:
        """Return the value of Expires; None when no rule fits. ``subjects``: path, path_info, uri and type."""
        for subject, lifetime, from_mtime in self._rules:
            if lifetime.pattern.search(subjects[subject]):
                return http_date((mtime if from_mtime else now) + lifetime.seconds)
        return None

    def __bool__(self) -> bool:
        return bool(self._rules)


class Variants:
    """Which files have compressed variants beside them, and which of these a client takes."""

    def __init__(self, options: StaticOptions) -> None:
        self._all = options.static_gzip_all
        self._beginnings = tuple(map(os.fsencode, options.static_gzip_dir))
        self._ends = tuple(map(os.fsencode, options.static_gzip_ext))
        self._patterns = [read_pattern(text) for text in options.static_gzip]

    def may_be(self, path: bytes) -> bool:
        """Whether a variant of the file is to be looked for."""
        return (
            self._all
            or path.startswith(self._beginnings)
            or path.endswith(self._ends)
            or any(pattern.search(os.fsdecode(path)) for pattern in self._patterns)
        )

    @staticmethod
    def accepted(accept_encoding: str) -> Iterator[tuple[str, bytes]]:
        """Yield content coding and suffix of each variant that the client takes, the best one first."""
        weights = dict(_codings(accept_encoding))
        for coding, suffix in (("br", b".br"), ("gzip", b".gz")):
            if weights.get(coding, weights.get("*", 0.0)) > 0:
                yield coding, suffix


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        words = line.partition("#")[0].split()
        yield from ((suffix, words[0]) for suffix in words[1:])


def _rules(subject: str, from_now: Sequence[str], from_mtime: Sequence[str]) -> Iterator[tuple[str, Lifetime, bool]]:
    read = read_type_lifetime if subject == "type" else read_lifetime
    yield from ((subject, read(text), False) for text in from_now)
    yield from ((subject, read(text), True) for text in from_mtime)


def _codings(accept_encoding: str) -> Iterator[tuple[str, float]]:
    """Yield each coding of an Accept-Encoding with its weight (RFC 9110, 12.5.3); nonsense has the weight 0."""
    for item in accept_encoding.split(","):
        coding, _, weight = item.partition(";")
        key, _, value = weight.strip().partition("=")
        try:
            yield coding.strip().lower(), float(value) if key.strip().lower() == "q" else 1.0
        except ValueError:
            yield coding.strip().lower(), 0.0
