"""When a worker is worn out, so that another one takes its place: after so many requests, so much time, so much memory.

What lives here: `worn_out` and `wears_out`, which decide and do nothing. What does not: acting on it (`worker`), the
limits that the master keeps because the worker may not be able to (`hanging`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from uwsgi_async.options.reloading import ReloadOptions
from uwsgi_async.options.settings import ProcessOptions

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Wear:
    """What a process of worker number ``worker`` has done. ``age``: seconds; ``rss`` and ``vsz``: bytes."""

    worker: int
    requests: int
    age: float
    rss: int
    vsz: int


def worn_out(options: ProcessOptions, wear: Wear) -> str | None:
    """Return why the process is worn out, as the end of a sentence about the worker; None when it is not.

    As in uWSGI each worker has its own limits, so that not all of them are replaced at once: ``delta`` times the
    workers before it is added. Source: core/utils.c, uwsgi_close_request; core/master_checks.c.
    """
    before = wear.worker - 1
    lifetime = options.max_worker_lifetime + before * options.max_worker_lifetime_delta
    if options.max_worker_lifetime and wear.age >= lifetime:
        return f"has lived {lifetime:g} s (option max-worker-lifetime)"
    if wear.age < options.min_worker_lifetime:
        return None
    most = options.max_requests + before * options.max_requests_delta
    if options.max_requests and wear.requests >= most:
        return f"has served {most} requests (option max-requests)"
    for name, limit, size in (
        ("reload-on-rss", options.reload_on_rss, wear.rss),
        ("reload-on-as", options.reload_on_as, wear.vsz),
    ):
        if limit and size >= limit * MEGABYTE:
            return f"uses {size // MEGABYTE} MB of the {limit} that it may (option {name})"
    return None


def wears_out(options: ReloadOptions) -> Callable[[BaseException], bool] | None:
    """Return what tells whether an app that has raised this needs a new process; None: never.

    As uWSGI says it: 2.0.31 compares the exception's text with all three lists (core/exceptions.c).
    """
    kinds, texts, both = (
        frozenset(names)
        for names in (
            options.reload_on_exception_type,
            options.reload_on_exception_value,
            options.reload_on_exception_repr,
        )
    )
    if options.reload_on_exception:
        return lambda _error: True
    if not (kinds or texts or both):
        return None

    def is_meant(error: BaseException) -> bool:
        kind, text = type(error).__name__, str(error)
        return kind in kinds or text in texts or f"{kind}: {text}" in both

    return is_meant
