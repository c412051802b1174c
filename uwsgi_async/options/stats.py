"""The options of the stats server: who may look at the instance, and what they see.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass
from typing import ClassVar

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsOptions:
    """Who may look at the instance, and what they see. For `instance.statistics`."""

    FIXED: ClassVar = True

    stats: str | None = option(
        None, "stats", "stats-server", help="tell the statistics as JSON to whoever connects to this address"
    )
    stats_http: bool = option(
        False,
        "stats-http",
        help="speak HTTP at the address of stats: JSON at /, and /metrics (Prometheus), /healthz and /readyz",
    )
    prometheus: str | None = option(
        None, "prometheus", help="speak HTTP at this address too: /metrics, /healthz, /readyz, and JSON at /"
    )
    stats_minified: bool = option(False, "stats-minified", "stats-min", help="write the JSON without blanks")
    stats_no_cores: bool = option(False, "stats-no-cores", help="leave the cores out of the statistics")
    stats_no_metrics: bool = option(False, "stats-no-metrics", help="leave the metrics out of the statistics")
