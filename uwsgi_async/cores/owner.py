"""Who is asking: what a lock must know, so that nobody waits for themselves.

What lives here: `current_owner`. What does not: locks (`state.locks`).
"""

from __future__ import annotations

import threading

from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.portal import in_event_loop
from uwsgi_async.fdwait.backend import current_backend
from uwsgi_async.fdwait.poller import find_poller


def current_owner() -> object:
    """Return the core that runs here; else the task; where no event loop runs, the thread. To be compared only.

    A core stays the same from one request to the next, also when it goes on in another task. A task that a request
    has started is not its core.
    """
    poller = find_poller()
    if poller is not None:
        task = poller.backend.current_task()
    elif in_event_loop():
        task = current_backend().current_task()
    else:
        return threading.get_ident()
    request = current_request.get()
    if request is not None and request.core.task is task:
        return request.core
    return task if task is not None else threading.get_ident()
