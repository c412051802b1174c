"""uWSGI's module ``uwsgidecorators``, as a served app imports it. Importing it sets the hooks of the ``uwsgi`` module.

What lives here: the names of uwsgidecorators.py of uWSGI 2.0.31. What does not: what they do (`decorators`), how this
file is found under that name (`finding`). It needs no master. An `uwsgidecorators` that is installed, uWSGI's own or
PyPI's, is taken instead of this one.
"""

import pickle
import sys
from functools import partial
from threading import Thread

import uwsgi  # type: ignore[import-untyped]

from uwsgi_async.decorators import (
    cron,
    erlang,
    farm,
    filemon,
    get_free_signal,
    harakiri,
    lock,
    mstimer,
    mule,
    mulefunc,
    muleloop,
    mulemsg,
    postfork,
    rbtimer,
    rpc,
    signal,
    spool,
    spoolforever,
    spoolraw,
    thread,
    timer,
)
from uwsgi_async.decorators.forks import postfork_chain, postfork_chain_hook, take_hooks
from uwsgi_async.decorators.mules import mule_functions, mule_msg_dispatcher, take_message_hook
from uwsgi_async.decorators.spooler import manage_spool_request, spool_decorate, spooler_functions, take_spooler

# uWSGI's module has no list, so ``from uwsgidecorators import *`` gives an app what it imports itself, too.
__all__ = [
    "Thread",
    "cron",
    "erlang",
    "farm",
    "filemon",
    "get_free_signal",
    "harakiri",
    "lock",
    "manage_spool_request",
    "mstimer",
    "mule",
    "mule_functions",
    "mule_msg_dispatcher",
    "mulefunc",
    "muleloop",
    "mulemsg",
    "partial",
    "pickle",
    "postfork",
    "postfork_chain",
    "postfork_chain_hook",
    "rbtimer",
    "rpc",
    "signal",
    "spool",
    "spool_decorate",
    "spooler_functions",
    "spoolforever",
    "spoolraw",
    "sys",
    "thread",
    "timer",
    "uwsgi",
]

take_hooks(uwsgi)
take_message_hook(uwsgi)
take_spooler(uwsgi)
