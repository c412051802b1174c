"""``uwsgi-async reload`` and ``stop``: tell a running instance, and wait until it is done.

What lives here: `reload`, `stop`. What does not: which instance (`targets`), what it does then (`instance.master`).
The process is held by a pidfd while it is asked who it is, so that a signal never reaches a stranger.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.commands.targets import find
from uwsgi_async.errors import BrokenError, UsageError

_PAUSE = 0.1  # seconds between two looks


def stop(target: str) -> str:
    """Stop the instance gracefully and wait for its end; return a sentence for the operator.

    Raises `UsageError` when there is none.
    """
    with _held(target) as (instance, pidfd):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        select.select([pidfd], [], [])  # readable when the process has ended: pidfd_open(2)
        return f"the instance with pid {instance.pid} has ended"


def reload(target: str) -> str:
    """Reload the instance and wait until the new workers serve; return a sentence for the operator.

    Raises `UsageError` when there is no instance or it has no master, `BrokenError` when the reload has failed.
    """
    with _held(target) as (instance, pidfd):
        if instance.processes[0].role != "master":
            raise UsageError(
                f"the instance with pid {instance.pid} has no master, so it cannot reload: stop and start it"
            )
        signal.pidfd_send_signal(pidfd, signal.SIGHUP)
        began = time.monotonic()
        while True:
            time.sleep(_PAUSE)
            now = find(str(instance.pid))
            if now.reloads > instance.reloads:
                return f"the instance with pid {instance.pid} has reloaded in {time.monotonic() - began:.1f} s"
            if now.failed_reloads > instance.failed_reloads:
                raise BrokenError("the reload has failed, and the old workers go on; the instance's log says why")


@contextmanager
def _held(target: str) -> Iterator[tuple[InstanceStatistics, int]]:
    """Give the instance and a pidfd of its master, which is the same process as long as it is open."""
    pid = find(target).pid
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        raise BrokenError(f"cannot hold the process {pid}: {error.strerror}") from error
    try:
        yield find(str(pid)), pidfd
    finally:
        os.close(pidfd)
