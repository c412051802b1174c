"""uWSGI's decorators, for plain functions and for ``async def``: what ``uwsgidecorators`` has, for any program.

What lives here: the door to all of them, and `begin`. What does not: the module that a served app imports as
``uwsgidecorators`` (`compat.uwsgidecorators`), what the functions they call do (`api`). Source: uWSGI's
uwsgidecorators.py 2.0.31, its page "uWSGI API - Python decorators"; `mstimer` is uWSGI 2.1's.

In an instance a decorator takes effect at once. In a program that calls `uwsgi_async.run` later, what was decorated
before is registered with each instance that begins.
"""

from __future__ import annotations

from types import ModuleType

from uwsgi_async.decorators.calls import harakiri, lock, thread
from uwsgi_async.decorators.erlang import erlang
from uwsgi_async.decorators.forks import postfork, postfork_chain, postfork_chain_hook, take_hooks
from uwsgi_async.decorators.functions import rpc
from uwsgi_async.decorators.mules import farm, mule, mule_functions, mulefunc, muleloop, mulemsg, take_message_hook
from uwsgi_async.decorators.signals import before, cron, filemon, get_free_signal, mstimer, rbtimer, signal, timer
from uwsgi_async.decorators.spooler import spool, spooler_functions, spoolforever, spoolraw, take_spooler

__all__ = [
    "cron",
    "erlang",
    "farm",
    "filemon",
    "get_free_signal",
    "harakiri",
    "lock",
    "mstimer",
    "mule",
    "mulefunc",
    "muleloop",
    "mulemsg",
    "postfork",
    "postfork_chain_hook",
    "rbtimer",
    "rpc",
    "signal",
    "spool",
    "spoolforever",
    "spoolraw",
    "thread",
    "timer",
]


def begin(module: ModuleType) -> None:
    """Register what was decorated before there was an instance. For an instance that begins in a user's program."""
    before.register()
    if postfork_chain:
        take_hooks(module)
    if mule_functions:
        take_message_hook(module)
    if spooler_functions and getattr(module, "spooler", None) is None:
        take_spooler(module)
