"""The first zygote: a fork of the master from before it has an event loop, threads or databases.

What lives here: `fork_zygote`. What does not: what it does (`zygote`), how the master talks to it and starts a later
one (`spawning`).
"""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from typing import NoReturn

from uwsgi_async.instance.channel import Channel, pair
from uwsgi_async.instance.spawning import ForkedZygote

logger = logging.getLogger("uwsgi_async")


def fork_zygote(loop: str) -> ForkedZygote | None:
    """Fork the zygote from this process, before it has an event loop or threads; None when the system refuses.

    The fork has everything that this process has imported, in the same memory, but none of its files.
    """
    try:
        ours, theirs = pair()
    except OSError:
        return None  # it is tried again, as a program, and told if that fails too
    with theirs:
        sys.stdout.flush()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            return None
        if not pid:
            _be_zygote(theirs.fileno(), loop)
    return ForkedZygote(pid, Channel(ours))


def _be_zygote(channel: int, loop: str) -> NoReturn:
    """Never return through the frames of the master: what they hold shall not be closed here a second time."""
    status = 1
    try:
        close_all_but(channel)
        sys.argv[:] = ["-c"]
        sys.modules["__main__"] = ModuleType("__main__")  # as in the program that a later one is
        from uwsgi_async.instance.zygote import main  # while the master goes on, which does not need it

        status = main(channel, loop)
    except Exception:
        logger.exception("the zygote has failed")
    finally:
        os._exit(status)


def close_all_but(kept: int) -> None:
    """Close all file descriptors but one and the standard streams, as a new program would find them."""
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        if number > 2 and number != kept:
            try:
                os.close(number)
            except OSError:
                pass  # the one of the listing
