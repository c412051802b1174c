"""The documented functions, as awaitables where they can wait: one module a chapter of uWSGI's reference.

The `uwsgi` module (`compat.uwsgi_module`) is derived from what each chapter lists in ``__all__``. A chapter whose
functions are only there when an option is given names it in ``OPTION`` and has ``is_configured``. ``BLOCKING`` has
the functions that a chapter makes a form for sync code of by itself.
"""

from uwsgi_async.api import (
    alarms,
    asynchronous,
    bodies,
    cache,
    dropped,
    dynamic,
    erlang,
    extraction,
    information,
    locks,
    messages,
    metrics,
    mules,
    naming,
    process,
    queue,
    request,
    routing,
    rpc,
    sharedarea,
    signals,
    snmp,
    sockets,
    spooler,
    spooling,
    websockets,
)

CHAPTERS = (
    *(asynchronous, request, bodies, information, extraction, naming, process, dynamic, dropped),
    *(cache, locks, queue, sharedarea, metrics, signals, mules, spooler, spooling, snmp, erlang, websockets),
    *(rpc, sockets, messages, routing, alarms),
)
