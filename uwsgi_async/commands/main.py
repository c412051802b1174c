"""The words of these commands, and which function each calls. Nothing else lives here."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from uwsgi_async.commands import spool
from uwsgi_async.commands.signals import reload, stop
from uwsgi_async.commands.table import render_processes
from uwsgi_async.commands.targets import connect_and_read, read_statistics
from uwsgi_async.errors import UsageError

_WIDTH = 120  # of a frame that no terminal limits
_TARGET = "process id, pidfile, or address or http:// URL of the stats server"

_OPTIONS: dict[str, Callable[[str], int]] = {
    "--connect-and-read": connect_and_read,
    "--reload": lambda target: _say(reload(target)),
    "--stop": lambda target: _say(stop(target)),
}


def run(words: Sequence[str]) -> int:
    """Run the command that ``words`` begin with, one of `COMMANDS`, and return its exit status.

    Raises `UwsgiAsyncError` when it cannot be done, and SystemExit for wrong words and ``--help``.
    """
    first, _, value = words[0].partition("=")
    if first in _OPTIONS:
        value = value or " ".join(words[1:2])
        if not value:
            raise UsageError(f"{first}: expected a value behind it, but none came")
        return _OPTIONS[first](value)
    options = _parser().parse_args(words)
    if options.command == "spool":
        return _say(spool.run(options))
    if options.command == "top":
        return _top(options.target, options.interval, options.once)
    if options.command == "ps":
        return _say(render_processes(read_statistics(options.target), time.time()))
    return _say((reload if options.command == "reload" else stop)(options.target))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uwsgi-async", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("top", "show the workers and the running requests, live"),
        ("ps", "list the processes"),
        ("reload", "reload gracefully, and wait until the new workers serve"),
        ("stop", "stop gracefully, and wait for the end"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("target", help=_TARGET)
        if name == "top":
            command.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="default: 1")
            command.add_argument("--once", action="store_true", help="print one frame and end")
    spool.add_parser(commands)
    return parser


def _top(target: str, interval: float, once: bool) -> int:
    try:
        from rich.console import Console  # optional: the extra `top`

        from uwsgi_async.commands.top import watch
    except ImportError as error:
        raise UsageError("top needs the library rich: pip install 'uwsgi-async[top]'; ps does without") from error
    if interval <= 0:
        raise UsageError(f"--interval: expected seconds above 0, but {interval:g} came")
    try:
        console = Console()
        if once or not console.is_terminal:
            console = Console(force_terminal=False, width=_WIDTH)
        watch(lambda: read_statistics(target), console, interval)
    except KeyboardInterrupt:
        pass
    return 0


def _say(text: str) -> int:
    print(text, file=sys.stdout)
    return 0
