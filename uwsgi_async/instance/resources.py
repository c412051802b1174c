"""What the processes may use of the machine: limits, priority, CPUs.

What lives here: `limit_resources`, for the first process and by it for all, and `bind_to_cpus`, for each worker. What
does not: what is done about a worker that uses too much (`limits`, `hanging`). Source: uWSGI's core/uwsgi.c,
uwsgi_setup and uwsgi_set_cpu_affinity.
"""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Sequence

from uwsgi_async.errors import UsageError
from uwsgi_async.options.resources import ResourceOptions

logger = logging.getLogger("uwsgi_async")

_MIB = 1 << 20


def limit_resources(options: ResourceOptions) -> None:
    """Limit this process and those that it starts from now on. Raises `UsageError` when the system refuses.

    Call it before the user changes: some of it needs root.
    """
    for option, number, value in (
        ("limit-as", resource.RLIMIT_AS, options.limit_as * _MIB),
        ("limit-nproc", resource.RLIMIT_NPROC, options.limit_nproc),
    ):
        if value:
            try:
                resource.setrlimit(number, (value, value))
            except (OSError, ValueError, OverflowError) as error:
                raise UsageError(f"{option}: the system refuses a limit of {value}: {error}") from error
    if options.prio:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, options.prio)
        except OSError as error:
            raise UsageError(f"prio: the system refuses the priority {options.prio}: {error.strerror}") from error


def bind_to_cpus(options: ResourceOptions, worker: int) -> None:
    """Bind this process to the CPUs of a worker, if that is asked for. Never fails: it is for speed alone."""
    if not options.cpu_affinity:
        return
    try:
        cpus = cpus_of(worker, options.cpu_affinity, sorted(os.sched_getaffinity(0)))
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        logger.warning("worker %d cannot be bound to CPUs: %s", worker, error.strerror)
    else:
        logger.info("mapped worker %d to CPUs: %s", worker, " ".join(map(str, sorted(cpus))))


def cpus_of(worker: int, count: int, available: Sequence[int]) -> set[int]:
    """Return the CPUs of a worker, ``count`` of those that are ``available``: they begin where the last one's end."""
    first = (worker - 1) * count
    return {available[number % len(available)] for number in range(first, first + count)}
