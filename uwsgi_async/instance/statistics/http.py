"""The HTTP face of an instance: what each path answers. No I/O.

===============  ======================================================================
``/metrics``     the statistics for Prometheus
``/healthz``     200 as long as this process answers: for a liveness probe
``/readyz``      200 when the instance serves, 503 while it starts or drains
anything else    the statistics as JSON, as uWSGI's ``stats-http`` answers every path
===============  ======================================================================

What lives here: `respond`. What does not: sockets and limits (`server`), the contents (`document`, `prometheus`).
"""

from __future__ import annotations

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.instance.scoreboard import State
from uwsgi_async.instance.statistics.document import encode
from uwsgi_async.instance.statistics.prometheus import CONTENT_TYPE, render
from uwsgi_async.options.stats import StatsOptions
from uwsgi_async.wire.http import RequestHead, response_head

METHODS = ("GET", "HEAD")
METRICS = "/metrics"

_TEXT = "text/plain; charset=utf-8"
_OPEN = ("Access-Control-Allow-Origin", "*")  # as in uWSGI: dashboards in browsers read the statistics


def probe(path: str, state: State) -> tuple[str, str] | None:
    """Return status and text of the answer to a probe; None when ``path`` is no probe's."""
    if path == "/healthz":
        return "200 OK", "ok\n"
    if path == "/readyz":
        return ("200 OK" if state is State.SERVING else "503 Service Unavailable"), f"{state.name.lower()}\n"
    return None


def respond(head: RequestHead, statistics: InstanceStatistics | None, options: StatsOptions) -> bytes:
    """Return the response to a request that is not a probe. ``statistics``: None when there is nothing to tell yet."""
    if statistics is None:
        return text_response(head, "503 Service Unavailable", "there is nothing to tell yet, or any more\n")
    if head.vars["PATH_INFO"] == METRICS:
        told = render(statistics, cores=not options.stats_no_cores, metrics=not options.stats_no_metrics)
        body = told.encode()
        return _response(head, "200 OK", [("Content-Type", CONTENT_TYPE)], body)
    fields = [_OPEN, ("Content-Type", "application/json")]
    return _response(head, "200 OK", fields, encode(statistics, options))


def text_response(head: RequestHead, status: str, text: str) -> bytes:
    """Return a response with a line of text."""
    fields = [("Content-Type", _TEXT), ("Cache-Control", "no-store")]
    if status.startswith("405"):
        fields.append(("Allow", ", ".join(METHODS)))
    return _response(head, status, fields, text.encode())


def _response(head: RequestHead, status: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
    encoded = response_head(status, fields).encode((head.http_1_1, False, False, len(body), True))
    return encoded if head.method == "HEAD" else encoded + body
