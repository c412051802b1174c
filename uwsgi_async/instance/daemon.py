"""Going on in the background, and what process 1 of a container owes the others.

What lives here: `Launch`, `serve_as_init`. What does not: signals of an instance (`master`). Both fork, so they come
before any event loop and any thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import NoReturn

from uwsgi_async.errors import UsageError

_MOST_WORDS = 4000  # characters that a daemon may have to say about a start that has failed: they fit into a pipe
_LOG_MODE = 0o640  # as uWSGI's

# What is passed on to the one child: everything that an instance may take as a command.
_PASSED_ON = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP,
    signal.SIGCONT, signal.SIGWINCH,
)  # fmt: skip


class Launch:
    """The start of an instance, for whoever waits for it: the process in the foreground that a daemon comes from.

    Without a daemon nobody waits, and `report` does nothing.
    """

    def __init__(self) -> None:
        self._fd: int | None = None

    def __repr__(self) -> str:
        return f"<Launch {'in the foreground' if self._fd is None else 'in the background'}>"

    def go_to_background(self, log: str) -> None:
        """Go on in a process without terminal whose output goes to the file ``log``.

        The process in the foreground waits for `report`, repeats it, and ends: this function does not return there, but
        raises SystemExit. Raises `UsageError` when the file cannot be opened.
        """
        output, before = _open_log(log), os.getpid()
        ear, mouth = os.pipe()
        child = os.fork()
        if child:
            os.close(mouth)
            os.waitpid(child, 0)
            _wait_for_report(ear, log)
        os.setsid()
        if os.fork():
            os._exit(0)  # the leader of the session could get a terminal again
        os.close(ear)
        _inherit_listen_fds(before)
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.close(null)
        os.close(output)
        self._fd = mouth

    def report(self, status: int = 0, words: str = "") -> None:
        """Say how the start went; only the first report counts."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with open(fd, "wb") as mouth:
                mouth.write(json.dumps([status, words[:_MOST_WORDS]]).encode())


def serve_as_init() -> None:
    """As process 1, go on in a child, and be what containers need there. Does nothing in any other process.

    Process 1 is given the orphans of all others, and must collect them; but an instance without a master may not: it
    would take away the ends of the programs that the app has started itself. So process 1 passes on signals, collects
    whoever has ended, and ends with the child's status.
    """
    if os.getpid() != 1:
        return
    signals = {*_PASSED_ON, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child:
        _be_init(child, signals)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    _inherit_listen_fds(1)


def _be_init(child: int, signals: set[signal.Signals]) -> NoReturn:
    while True:
        number = signal.sigwait(signals)
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)  # as a shell tells of signals
            if pid == 0:
                break


def _wait_for_report(ear: int, log: str) -> NoReturn:
    with open(ear, "rb") as file:
        report = file.read()
    try:
        status, words = json.loads(report)
    except ValueError:
        status, words = 1, f"uwsgi-async: the instance ended before it served; {log} may tell why"
    if words:
        print(words, file=sys.stderr)
    raise SystemExit(status)


def _open_log(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _LOG_MODE)
    except OSError as error:
        raise UsageError(f"daemonize: cannot write {path!r}: {error.strerror}") from error


def _inherit_listen_fds(before: int) -> None:
    """Name this process as the one that systemd's sockets are for, if it was process ``before`` that has forked it."""
    if os.environ.get("LISTEN_PID") == str(before):
        os.environ["LISTEN_PID"] = str(os.getpid())
