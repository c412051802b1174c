"""What can be known to be wrong before any process is started: users, files, limits of the system.

What lives here: `check_start`. What does not: options that contradict each other (`options.conflicts`), addresses
(`listeners`), what is wrong inside an app (`loader`).
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from uwsgi_async.errors import AppLoadError, UsageError
from uwsgi_async.instance.loader import sources
from uwsgi_async.instance.snmp import snmp_address
from uwsgi_async.instance.standing import find_owner, identity_of
from uwsgi_async.options.loading import LoadOptions
from uwsgi_async.options.settings import Options
from uwsgi_async.wire.address import parse_address

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def check_start(options: Options) -> None:
    """Raise the error that a start with these options is bound to end with. Call it in the directory of ``chdir``.

    No code of the user's runs. Raises `UsageError` and its kinds.
    """
    identity_of(options.system)
    if options.sockets.chown_socket is not None:
        find_owner("chown-socket", options.sockets.chown_socket)
    for text in (*options.sockets.http_socket, *options.sockets.socket):
        parse_address(text)
    snmp_address(options.snmp)
    for option, path in _files(options):
        directory = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(directory):
            raise UsageError(f"{option}: there is no directory {directory!r}, so {path!r} cannot be written")
    _check_queue(options.sockets.listen)
    if options.load.need_app:
        _check_apps(options)


def _files(options: Options) -> Iterator[tuple[str, str]]:
    """Yield each file that will be written, with its option."""
    for option, path in (
        ("pidfile", options.process.pidfile),
        ("pidfile2", options.system.pidfile2),
        ("daemonize", options.system.daemonize),
        ("daemonize2", options.system.daemonize2),
    ):
        if path is not None:
            yield option, path


def _check_queue(length: int) -> None:
    """uWSGI does not start either; the kernel would only make the queue shorter. Source: core/uwsgi.c."""
    try:
        most = int(_SOMAXCONN.read_text())
    except (OSError, ValueError):
        return
    if length > most:
        raise UsageError(
            f"listen: a queue of the kernel's holds {most} connections at most (net.core.somaxconn), not {length}; "
            "raise that by sysctl, or ask for fewer"
        )


def _check_apps(options: Options) -> None:
    load = options.load
    wanted = sources(load)
    if not wanted and not options.static.serves_files():
        raise AppLoadError(
            "there is no app: name one with --wsgi-file app.py, --module package.module:callable or --mount /x=app.py"
        )
    for source in wanted:
        if source.is_file and not os.path.exists(source.path):
            raise AppLoadError(f"there is no file {source.path!r} (looked in {os.getcwd()!r})")
        if not source.is_file and not _may_be_found(source.path.partition(".")[0], load):
            raise AppLoadError(
                f"there is no module {source.path!r} (looked in {os.getcwd()!r} and Python's import path)"
            )


def _may_be_found(name: str, load: LoadOptions) -> bool:
    """Whether a module or package of this name may be there. Imports that come before it can change that: then it may.

    What is inside a package is not looked at: it could only be known by importing the package.
    """
    if load.home is not None or load.imports or load.shared_imports or name in sys.modules:
        return True
    path = [os.getcwd(), *(path for pattern in load.pythonpath for path in glob.glob(pattern) or [pattern])]
    path += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if PathFinder.find_spec(name, [os.path.abspath(each) for each in path if each]) is not None:
        return True
    return any(finder.find_spec(name, None) is not None for finder in sys.meta_path)
