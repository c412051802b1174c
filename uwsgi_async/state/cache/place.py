"""Names for a moment: a directory in which LMDB finds memory that has no name.

What lives here: `place`, `sweep_places`. What does not: LMDB (`memory`).

LMDB opens its two files by their names in one directory. For memory that has none these are symbolic links to
``/proc/self/fd/N``, and the directory is gone when LMDB has opened them. A process that is killed within that half of a
millisecond leaves it, with nothing in it but the two dead links; its name tells whose it was, so the next process that
comes removes it, and the one that keeps the instance's caches does too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

_SHARED_MEMORY: Final = "/dev/shm"
_PREFIX: Final = "uwsgi_async."


@contextmanager
def place(data: int, locks: int) -> Iterator[str]:
    """Give a directory in which ``data.mdb`` and ``lock.mdb`` are these file descriptors of the process."""
    sweep_places()
    path = tempfile.mkdtemp(prefix=f"{_PREFIX}{_namespace()}.{os.getpid()}.", dir=_parent())
    try:
        os.symlink(f"/proc/self/fd/{data}", f"{path}/data.mdb")
        os.symlink(f"/proc/self/fd/{locks}", f"{path}/lock.mdb")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep_places() -> None:
    """Remove what killed processes have left."""
    parent = _parent()
    ours = f"{_PREFIX}{_namespace()}."
    try:
        names = os.listdir(parent)
    except OSError:  # a directory where one may write, but not look
        return
    for name in names:
        if name.startswith(ours):
            pid = name.removeprefix(ours).partition(".")[0]
            if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


@cache
def _namespace() -> int:
    """The processes among which a process id means the same."""
    return os.stat("/proc/self/ns/pid").st_ino


@cache
def _parent() -> str:
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else tempfile.gettempdir()
