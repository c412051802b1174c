"""The files of the app's modules, for ``py-autoreload``: told by the processes that import them, watched by the master.

What lives here: `SourceReporter`, which finds the files in a process that imports, and `WatchedSources`, which finds
what has changed since. What does not: other files (`touches`), what is done then (`master`). The processes that serve
do not watch: their event loops have better things to do, and one whose app is broken does not run at all.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from typing import Final

from uwsgi_async.errors import BrokenError
from uwsgi_async.instance.channel import Sources
from uwsgi_async.options.reloading import ReloadOptions

MISSING: Final = -1
CHANGED: Final = 0
"""Stamps besides the time of a file's change in nanoseconds: it is missing; it was changed while it was loaded."""

_CHUNK = 200  # modules in one message


class SourceReporter:
    """Finds the modules that were imported since the last report. Make it before the app is loaded.

    ``ignore``: names of modules that shall not be watched.
    """

    def __init__(self, ignore: Iterable[str] = ()) -> None:
        self._seen = set(ignore)
        self._looked = 0
        self._began = time.time_ns()

    def __repr__(self) -> str:
        return f"<SourceReporter of {len(self._seen)} modules>"

    def begin(self) -> None:
        """Take note that modules are imported from now on."""
        self._began = time.time_ns()

    def report(self) -> Iterator[Sources]:
        """Yield the files of the modules that are new, in messages of bounded size."""
        if len(sys.modules) == self._looked:
            return
        self._looked = len(sys.modules)
        new = {name: module for name, module in list(sys.modules.items()) if name not in self._seen}
        self._seen.update(new)
        files = {name: getattr(module, "__file__", None) for name, module in new.items()}
        yield from self._messages({name: os.path.abspath(file) for name, file in files.items() if file})

    def report_failure(self, error: BaseException) -> Iterator[Sources]:
        """Yield the files that an import has failed in, or for the lack of."""
        yield from self._messages({path: path for path in failure_files(error)})

    def _messages(self, files: dict[str, str]) -> Iterator[Sources]:
        found = [(name, path, self._stamp(path)) for name, path in files.items()]
        for at in range(0, len(found), _CHUNK):
            yield Sources(found[at : at + _CHUNK])

    def _stamp(self, path: str) -> int:
        stamp = stamp_source(path)
        return CHANGED if self._began < stamp <= time.time_ns() else stamp


class WatchedSources:
    """What the master knows of one generation's modules. ``before``: of the one that it is to replace.

    A file that was changed while it was loaded is loaded again. If that happens twice in a row, then because loading
    it is what changes it: this is no reason to do it forever.
    """

    def __init__(self, before: WatchedSources | None = None) -> None:
        self._names: dict[str, str] = {}
        self._stamps: dict[str, int] = {}
        self._unsettled: set[str] = set()
        self._unsettled_before = before._unsettled if before is not None else frozenset[str]()

    def __repr__(self) -> str:
        return f"<WatchedSources of {len(self._stamps)} files>"

    def add(self, sources: Sources) -> None:
        """Take what a process has reported. Of several reports of a file the first counts.

        Raises `BrokenError` for what no process of ours reports.
        """
        for file in sources.files:
            try:
                name, path, stamp = file
            except (ValueError, TypeError) as error:
                raise BrokenError(f"expected a module's name, path and stamp, got {str(file)[:80]}") from error
            if path in self._stamps:
                continue
            if stamp == CHANGED:
                self._unsettled.add(path)
                if path in self._unsettled_before:
                    stamp = stamp_source(path)
            self._names[path], self._stamps[path] = str(name), stamp

    def update(self, other: WatchedSources) -> None:
        """Watch also what another generation has loaded."""
        self._unsettled |= other._unsettled
        self._names = {**other._names, **self._names}
        self._stamps = {**other._stamps, **self._stamps}

    def look(self) -> list[str]:
        """Return the names and paths of the modules that have changed since they were loaded, or the last look."""
        changed = []
        for path, before in self._stamps.items():
            stamp = stamp_source(path)
            if stamp != before:
                self._stamps[path] = stamp
                name = self._names[path]
                changed.append(path if name == path else f"{name} ({path})")
        return changed


def make_reporter(options: ReloadOptions) -> SourceReporter | None:
    """Return the reporter of a process that is about to import the app; None when nobody asked for it."""
    return SourceReporter(options.py_auto_reload_ignore) if options.py_autoreload > 0 else None


def stamp_source(path: str) -> int:
    """Return when a file was changed, in nanoseconds; `MISSING` when there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return MISSING


def failure_files(error: BaseException) -> list[str]:
    """Return the files that may be to blame for a failed import: those it came through, and those it looked for."""
    files: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        files += [frame.f_code.co_filename for frame, _ in traceback.walk_tb(current.__traceback__)]
        if isinstance(current, SyntaxError) and current.filename:
            files.append(current.filename)
        if isinstance(current, ModuleNotFoundError) and current.name:
            files += _candidates(current.name)
        current = current.__cause__ or current.__context__
    return list(dict.fromkeys(os.path.abspath(file) for file in files if not file.startswith("<")))


def _candidates(name: str) -> list[str]:
    """Return where a module could have been found: it may be written any moment."""
    parent, _, last = name.rpartition(".")
    places = getattr(sys.modules.get(parent), "__path__", ()) if parent else sys.path
    return [
        os.path.join(place or os.curdir, *end)
        for place in places
        if os.path.isdir(place or os.curdir)
        for end in ((f"{last}.py",), (last, "__init__.py"))
    ]
