"""How this process is called in ps(1) and top(1).

What lives here: `setprocname`, and `set_affixes`, with which an instance says what stands around each name. What does
not: which name a process gets by itself (`instance.names`). Source: uwsgi_set_processname (core/utils.c).

The whole name needs setproctitle (the extra ``procname``). Without it only the kernel's short name is set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["setprocname"]

logger = logging.getLogger("uwsgi_async")

_SHORT: Final = 15  # bytes of a name in /proc/self/comm

_prefix = _suffix = ""


def setprocname(name: str) -> None:
    """Call this process ``name``, with what `procname-prefix` and `procname-append` put around it.

    A name that is longer than the command line was is cut. Raises TypeError for anything but str.
    """
    if not isinstance(name, str):
        raise TypeError(f"setprocname() argument 1 must be str, not {type(name).__name__}")
    _setter()(f"{_prefix}{name}{_suffix}")


def set_affixes(prefix: str, suffix: str) -> None:
    """Put these around each name from now on, in this process and those that are forked from it."""
    global _prefix, _suffix
    _prefix, _suffix = prefix, suffix


@cache
def _setter() -> Callable[[str], None]:
    # The library would else also take the memory of the environment, and /proc/PID/environ, which operators read,
    # would be spoilt. It looks at the variable when it is used for the first time.
    without = "SPT_NOENV" not in os.environ
    if without:
        os.environ["SPT_NOENV"] = "1"
    try:
        import setproctitle

        setproctitle.getproctitle()
    except ImportError:
        logger.warning("only the short name of a process can be set: pip install 'uwsgi-async[procname]' for the whole")
        return _set_short
    finally:
        if without:
            del os.environ["SPT_NOENV"]
    return setproctitle.setproctitle


def _set_short(name: str) -> None:
    with open("/proc/self/comm", "wb") as file:
        file.write(name.encode()[:_SHORT])
