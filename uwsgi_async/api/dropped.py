"""The chapter of functions that uWSGI's reference lists and its last versions do not have.

What lives here: those that belong to workers and process control, with the meaning they had. What does not: what the
options themselves mean (`options.settings`). Source: uWSGI 0.9.6 to 1.9.21, plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager

from uwsgi_async.api.process import masterpid
from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.portal import in_event_loop
from uwsgi_async.errors import WouldBlockLoopError

__all__ = ["grunt", "has_hook", "sorry_i_need_to_block"]

_modifiers: frozenset[int] = frozenset()


@contextmanager
def serving(modifiers: frozenset[int]) -> Iterator[None]:
    """Say which modifiers of the uwsgi protocol are served while the block runs, for `has_hook`."""
    global _modifiers
    before, _modifiers = _modifiers, modifiers
    try:
        yield
    finally:
        _modifiers = before


def has_hook(modifier1: int) -> bool | None:
    """Return True when packets of ``modifier1`` are served here, else None."""
    return operator.index(modifier1) in _modifiers or None


def sorry_i_need_to_block() -> bool | None:
    """Return True when there is a master, else None.

    It was a hint to the master, which never did anything with it. What blocks belongs into a thread here: the option
    ``threads``, `anyio.to_thread.run_sync`, or a mule.
    """
    return masterpid() != 0 or None


def grunt(keep_connection: object = None) -> bool | None:
    """Let this request go on by itself, so that the worker is free for others.

    uWSGI forked the worker: the copy got True and the client, the worker None. Here a request in a thread of its own
    (the option ``threads``) does not hold up the others, so it gets True and nothing is forked. ``keep_connection``
    means nothing: the connection stays this request's. Raises `WouldBlockLoopError` in a core, because forking a
    running event loop would break both copies: what blocks there belongs into a thread or into a mule.
    """
    if in_event_loop() or current_request.get() is None:
        raise WouldBlockLoopError(
            "uwsgi.grunt() would fork a running event loop: run sync apps with the option threads, where grunt() gives "
            "True, or let anyio.to_thread.run_sync, a mule or the spooler do what blocks"
        )
    return True
