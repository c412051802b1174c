"""What an instance finds around it: environment and working directory, as it was started and as its options want it.

What lives here: `Surroundings`. What does not: the import path and the apps (`loader`).
The order is uWSGI's: ``env`` and ``unenv`` as they stand in the configuration, then the envdirs, then ``chdir``; so a
relative envdir is one of the directory of the start, and a relative socket or app one of ``chdir``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from uwsgi_async.errors import UsageError
from uwsgi_async.instance.logs.opening import absolute
from uwsgi_async.options.forms import read_variable
from uwsgi_async.options.loading import LoadOptions
from uwsgi_async.options.settings import Options

_LARGEST = 128 * 1024  # bytes of a variable: with more the kernel starts no program
_END = " \t\r\n"


class Surroundings:
    """The process's environment and directory, for a ``with`` block. It remembers what it finds when it is made."""

    def __init__(self) -> None:
        self._environ = dict(os.environ)
        self._base = _here()  # the directory itself, not its name: it may be moved or removed
        self._entered: Options | None = None

    def __repr__(self) -> str:
        return f"<Surroundings {'as found' if self._entered is None else 'entered'}>"

    def __enter__(self) -> Surroundings:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._base)

    def enter(self, options: Options) -> Options:
        """Change environment and directory as ``options`` want; return them with what is relative to the start fixed.

        Raises `UsageError` when a directory is not there.
        """
        for name, value in variables(options.load):
            _set(name, value)
        time.tzset()  # TZ may be one of them
        options = _with_fixed_paths(options)
        if options.load.chdir is not None:
            change_directory("chdir", options.load.chdir)
        self._entered = options  # only what has worked: a reload that fails keeps the former ones
        return options

    def enter_again(self, read: Callable[[], Options]) -> Options:
        """Call ``read`` in the surroundings of the start, or in the directory ``force-cwd``; enter what it returns.

        Raises what ``read`` raises, and `UsageError`; then all is as it was before.
        """
        assert self._entered is not None
        environ, here = dict(os.environ), _here()
        try:
            _set_all(self._environ)
            os.fchdir(self._base)
            if self._entered.load.force_cwd is not None:
                change_directory("force-cwd", self._entered.load.force_cwd)
            base = _here()
            try:
                options = self.enter(read())
            except BaseException:
                os.close(base)
                raise
            os.close(self._base)
            self._base = base
            return options
        except BaseException:
            _set_all(environ)
            os.fchdir(here)
            raise
        finally:
            os.close(here)


def _with_fixed_paths(options: Options) -> Options:
    """Return the options with the paths that are relative to the directory of the start, as in uWSGI, made absolute.

    The log of a daemon is its ``logto``.
    """
    process, system = options.process, options.system
    if process.pidfile is not None:
        process = replace(process, pidfile=os.path.abspath(process.pidfile))
    for name in ("daemonize", "daemonize2"):
        path = getattr(system, name)
        if path is not None:
            system = replace(system, **{name: os.path.abspath(path)})
    log = system.daemonize or system.daemonize2
    loggers = replace(options.loggers, logto=log) if log is not None else absolute(options.loggers)
    return replace(options, process=process, system=system, loggers=loggers)


def variables(options: LoadOptions) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of each variable to be set, in order; the value is None where it is to be removed.

    Raises `UsageError` when an envdir cannot be read.
    """
    for text in options.env:
        yield read_variable(text)
    for path in options.envdir:
        try:
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
            for name in names:
                if os.path.isfile(os.path.join(path, name)):
                    yield name, _content(os.path.join(path, name))
        except OSError as error:
            raise UsageError(f"envdir: cannot read {error.filename or path!r}: {error.strerror}") from error


def change_directory(option: str, path: str) -> None:
    """Change to the directory that ``option`` names. Raises `UsageError` when that is not possible."""
    try:
        os.chdir(path)
    except OSError as error:
        raise UsageError(f"{option}: cannot change to the directory {path!r}: {error.strerror}") from error


def _set_all(environ: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()


def _here() -> int:
    return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _set(name: str, value: str | None) -> None:
    try:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    except (OSError, ValueError) as error:
        raise UsageError(f"env: {name!r} cannot be the name of a variable") from error


def _content(path: str) -> str | None:
    """Return what the file of a variable says: its end stripped, NUL as a new line; None for an empty file."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read(_LARGEST)
    if len(text) == _LARGEST:
        raise UsageError(f"envdir: expected less than {_LARGEST} bytes in a variable, got more in {path!r}")
    return text.rstrip(_END).replace("\0", "\n") if text else None
