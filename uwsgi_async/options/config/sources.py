"""Config files: which file and section a spelling means, its magic variables, its entries.

What lives here: `Sources`, which remembers what it has opened. What does not: how each format is read (`readers`), what
is done with the entries (`engine`). Paths are relative to the working directory, as in uWSGI.
Source: uwsgi_open_and_read (core/io.c), config_magic_table_fill and uwsgi_opt_load (core/uwsgi.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.entries import Entry
from uwsgi_async.options.config.magic import magic_of_file, of_the_first, substitute
from uwsgi_async.options.config.readers import READERS
from uwsgi_async.options.config.world import STDIN, World

_MOST_FILES = 1000
_MOST_NESTED = 30
_SCHEME = re.compile(r"[a-z]+://")
_PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class _File:
    """What a spelling means. ``section``: "" is the one that the format has for us."""

    path: str
    section: str

    def __str__(self) -> str:
        return f"{self.path}:{self.section}" if self.section else self.path


class Sources:
    """The files that a configuration is read from. ``magic``: the magic variables of the last one, by their letters."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: list[_File] = []
        self._count = 0
        self._last_ini = ""
        self.magic: dict[str, str] = dict(world.facts())
        self._named: dict[str, _File] = {}  # the files that %o and %O mean
        self._templates = 0

    @contextmanager
    def opened(self, kind: str, spec: str, entry: Entry) -> Iterator[tuple[Sequence[Entry], str]]:
        """Give the entries of a file, and a warning or "". While the block runs, reading it again is an error.

        ``kind``: its format; "" is the one of its suffix, and the file is a template: ``%N`` is not its name.
        ``entry``: the one that asks for it. Raises `OptionError` with its file and line.
        """
        template, kind = not kind, kind or _format_of(spec, entry)
        file = self._meant(spec, entry)
        if file in self._open or self._count >= _MOST_FILES or len(self._open) >= _MOST_NESTED:
            raise OptionError(f"{entry.origin}: {entry.key}: {self._too_much(file)}")
        self._count += 1
        self._open.append(file)
        self._templates += template
        try:
            yield self._entries(kind, file, spec, entry)
        finally:
            self._templates -= template
            self._open.pop()
            # While a file is read, its section is not part of its name; afterwards it is, as in uWSGI.
            self.magic |= {letter: spec for letter, named in self._named.items() if named is file}

    def content(self, path: str, entry: Entry) -> str:
        """Return what ``@(path)`` stands for: the file's text without its last newline."""
        if _SCHEME.match(path):
            raise OptionError(f"only files can be read, not {path!r}")
        try:
            return self._world.read(path).removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError) as error:
            raise OptionError(f"@({path}): cannot read {path!r}: {_reason(error)}") from error

    def _meant(self, spec: str, entry: Entry) -> _File:
        if _SCHEME.match(spec):
            raise OptionError(
                f"{entry.origin}: {entry.key}: only files can be read, not {spec!r}: fetch it before the start"
            )
        path, colon, section = spec.rpartition(":") if ":" in spec else (spec, "", "")
        if colon and not path and not self._last_ini:
            raise OptionError(f"{entry.origin}: {entry.key}: {spec!r} names a section of no file")
        return _File(path or self._last_ini, section)

    def _too_much(self, file: _File) -> str:
        chain = " > ".join(map(str, (*self._open, file)))
        if file in self._open:
            return f"this file is being read already, it would never end: {chain}"
        if self._count >= _MOST_FILES:
            return f"expected at most {_MOST_FILES} files, but {file} is one more"
        return f"expected files inside of files up to {_MOST_NESTED} deep, but this goes deeper: {chain}"

    def _entries(self, kind: str, file: _File, spec: str, entry: Entry) -> tuple[Sequence[Entry], str]:
        text = self._text(file.path, entry)
        self._fill_magic(file, reused=spec.startswith(":"))
        if kind == "ini":
            self._last_ini = file.path
        default = "tool.uwsgi-async" if file.path.endswith(_PYPROJECT) else "uwsgi"
        source = "standard input" if file.path == STDIN else file.path
        found = READERS[kind](substitute(text, self.magic), file.section or default, source)
        if found is not None:
            return found, ""
        return (), f"{source} has no section [{file.section or default}]: nothing was read from it"

    def _fill_magic(self, file: _File, *, reused: bool) -> None:
        """Make the magic variables those of ``file``. ``reused``: it is the last one, with another section."""
        self._named["o"] = file
        if file.path == STDIN:
            self.magic["o"] = STDIN
            return
        if not reused:
            self.magic |= magic_of_file(file.path, self._world)
        self.magic |= {"o": "" if reused else file.path, "x": file.section}
        if "O" not in self._named and not self._templates:
            self._named["O"] = file
            self.magic |= of_the_first(self.magic)

    def _text(self, path: str, entry: Entry) -> str:
        try:
            return self._world.read(path)
        except (OSError, ValueError) as error:
            hint = ", and placeholders are replaced later than files are read" if re.search(r"[$@%]\(", path) else ""
            raise OptionError(f"{entry.origin}: {entry.key}: cannot read {path!r}: {_reason(error)}{hint}") from error


def _format_of(spec: str, entry: Entry) -> str:
    """Return the format of a file by its suffix."""
    path = spec.rpartition(":")[0] or spec
    suffix = path.rpartition(".")[2]
    if suffix not in READERS:
        raise OptionError(
            f"{entry.origin}: {entry.key}: expected a file that ends with .{', .'.join(READERS)}, but {spec!r} came"
        )
    return suffix


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
