"""A section of signals for the tests of the forms that statistics are told in."""

from __future__ import annotations

from typing import Any

from uwsgi_async.signals.declare import Cron, FileMonitor, Probe, Timer
from uwsgi_async.signals.values import Failure, SignalState, SignalStatistics, SourceState, document


def signal_section(now: float) -> dict[str, Any]:
    """Five sources, two of them the same, a signal without one, and one whose handler has failed a minute ago."""
    return document(
        SignalStatistics(
            routed=9,
            unrouted=1,
            waiting=3,
            queues={"worker": 1, "worker2": 2},
            signals=(
                SignalState(0, "", 2, now - 5, 0, None),
                SignalState(1, "worker2", 6, now - 60, 4, Failure(now - 60, "RuntimeError: [red]no\x1b luck")),
                SignalState(9, None, 1, now - 3600, 0, None),
            ),
            sources=(
                SourceState(Timer(0, 5.0), 2, now - 5),
                SourceState(Timer(0, 5.0), 1, now - 10),
                SourceState(Timer(1, 0.5, 3, "rb_timer"), 3, now - 70),
                SourceState(Cron(0, 30, 3, -1, -1, -1), 0, 0.0),
                SourceState(FileMonitor(1, "/etc/app.conf"), 3, now - 7200),
                SourceState(Probe(1, "10.0.0.2:3031", 4.0, 1.0), 0, 0.0),
            ),
        )
    )
