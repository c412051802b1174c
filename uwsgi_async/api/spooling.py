"""The chapter of the spooler's process: what any process may ask, also of an instance that has no spooler.

What lives here: `i_am_the_spooler`, `spooler_dir`. What does not: tasks (`spooler`).
"""

from __future__ import annotations

import os

from uwsgi_async.api import spooler

__all__ = ["i_am_the_spooler", "spooler_dir"]


def i_am_the_spooler() -> bool | None:
    """Return True in a process that runs tasks; None in any other."""
    spoolers = spooler.current()
    return (spoolers is not None and spoolers.current is not None) or None


def spooler_dir() -> bytes:
    """Return the directory of the spooler that this process is. Raises ValueError in any other process."""
    spoolers = spooler.current()
    if spoolers is None or spoolers.current is None:
        raise ValueError("This process is not a spooler")
    return os.fsencode(spoolers.directories[spoolers.current])
