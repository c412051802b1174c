"""The options of how many workers there are: fixed, by the load, or none while nobody asks for anything.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass
from typing import Literal

from uwsgi_async.options.declare import option

CheaperAlgorithm = Literal["spare", "backlog", "busyness", "manual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheaperOptions:
    """How many workers there are. For `instance.cheaper` and `instance.adapting`. A cycle is ``check_interval``."""

    cheaper: int = option(
        0,
        "cheaper",
        help="adapt the number of workers to the load, from this up to processes; 0 = do not",
        minimum=0,
    )
    cheaper_initial: int = option(0, "cheaper-initial", help="workers at the start; 0 = as many as cheaper", minimum=0)
    cheaper_algo: CheaperAlgorithm = option(  # noqa: RUF009 - it only describes a field
        "spare", "cheaper-algo", help="spare, backlog, busyness or manual: how the number of workers is decided"
    )
    cheaper_step: int = option(1, "cheaper-step", help="workers that are added at once", minimum=1)
    cheaper_overload: int = option(
        3,
        "cheaper-overload",
        help="spare: cycles without a free worker, busyness: seconds of a window, backlog: connections that wait",
        minimum=1,
    )
    cheaper_rss_limit_soft: int = option(
        0,
        "cheaper-rss-limit-soft",
        unit="bytes",
        help="add no worker while all use more; 0 = no limit",
        minimum=0,
    )
    cheaper_rss_limit_hard: int = option(
        0, "cheaper-rss-limit-hard", unit="bytes", help="take a worker away when all use more; 0 = no limit", minimum=0
    )
    cheaper_busyness_max: int = option(
        50, "cheaper-busyness-max", help="percent of busy time from which workers are added", minimum=1, maximum=100
    )
    cheaper_busyness_min: int = option(
        25, "cheaper-busyness-min", help="percent of busy time below which one is taken away", minimum=0, maximum=100
    )
    cheaper_busyness_multiplier: int = option(
        10, "cheaper-busyness-multiplier", help="quiet windows before a worker is taken away", minimum=1
    )
    cheaper_busyness_penalty: int = option(
        2, "cheaper-busyness-penalty", help="more such windows when one was taken away too early", minimum=0
    )
    cheaper_busyness_verbose: bool = option(
        False, "cheaper-busyness-verbose", help="log how busy the workers are in each window"
    )
    cheaper_busyness_backlog_alert: int = option(
        33, "cheaper-busyness-backlog-alert", help="waiting connections that call for an emergency worker", minimum=1
    )
    cheaper_busyness_backlog_multiplier: int = option(
        3, "cheaper-busyness-backlog-multiplier", help="quiet windows before emergency workers go", minimum=1
    )
    cheaper_busyness_backlog_step: int = option(
        1, "cheaper-busyness-backlog-step", help="emergency workers that are added at once", minimum=1
    )
    cheaper_busyness_backlog_nonzero: float = option(
        60.0,
        "cheaper-busyness-backlog-nonzero",
        unit="seconds",
        help="time with a waiting connection that calls for an emergency worker",
        minimum=1,
    )
    check_interval: float = option(
        1.0, "check-interval", unit="seconds", help="time between two looks at the number of workers", minimum=0.01
    )
    cheap: bool = option(False, "cheap", help="start workers only when the first connection waits")
    idle: float = option(
        0.0,
        "idle",
        unit="seconds",
        help="end all workers after so much time without a request, until a connection waits; 0 = never",
        minimum=0,
    )
    die_on_idle: bool = option(False, "die-on-idle", help="stop the instance then (option idle)")

    @property
    def adapts(self) -> bool:
        """Whether the number of workers changes."""
        return bool(self.cheaper or self.cheap or self.idle)
