"""What a fork server does when its master has died: it sees to it that nothing is left behind.

What lives here: `guard`. What does not: what the workers do by themselves then (`worker`): they finish their requests
and end. But one that hangs does not, and the files of the master are nobody's any more.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Sequence

from uwsgi_async.instance.channel import Start
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.scoreboard import Field, Scoreboard

logger = logging.getLogger("uwsgi_async")


def guard(start: Start, board: int, listeners: Sequence[Listener], mercy: float) -> None:
    """Free the addresses, remove the master's files, and outlive the workers: kill what lives after ``mercy`` seconds.

    At once, because the next instance may be about to begin at the same addresses.
    """
    for listener in listeners:
        listener.sock.close()
    for values in start.files:
        OwnFile(*values).remove()
    workers = _workers(Scoreboard.attach(board))
    _wait(workers, mercy)
    for fd, pid in workers.items():
        logger.error("the worker with pid %d has not ended within %g s after its master: killing it", pid, mercy)
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _workers(board: Scoreboard) -> dict[int, int]:
    """Return the process ids of the workers that live, by a file descriptor for each (pidfd_open(2))."""
    rows = [board.row(seat) for seat in range(1, board.seats + 1)]
    rows += [board.spare(seat) for seat in range(1, board.seats + 1)]
    workers = {}
    for pid in {row[Field.PID] for row in rows} - {0}:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        if _has_board(pid, board):
            workers[fd] = pid
        else:
            os.close(fd)
    return workers


def _has_board(pid: int, board: Scoreboard) -> bool:
    """Whether the process is what it was: nobody else has this board open."""
    try:
        theirs = os.stat(f"/proc/{pid}/fd/{board.fd}")
    except OSError:
        return False
    ours = os.fstat(board.fd)
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _wait(workers: dict[int, int], seconds: float) -> None:
    """Wait until the workers have ended, ``seconds`` at most; who has ended is taken out."""
    ends = select.poll()
    for fd in workers:
        ends.register(fd, select.POLLIN)
    deadline = time.monotonic() + seconds
    while workers and (left := deadline - time.monotonic()) > 0:
        for fd, _ in ends.poll(left * 1000):
            ends.unregister(fd)
            os.close(fd)
            del workers[fd]
