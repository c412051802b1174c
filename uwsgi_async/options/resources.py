"""The options of what the processes may use of the machine.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass
from typing import ClassVar

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOptions:
    """Limits and priorities. For `instance.resources`."""

    FIXED: ClassVar = True

    limit_as: int = option(
        0, "limit-as", help="limit the address space of each process (in MB, RLIMIT_AS); 0 = as it is", minimum=0
    )
    limit_nproc: int = option(
        0,
        "limit-nproc",
        help="limit the processes and threads of the instance's user (RLIMIT_NPROC); 0 = as it is",
        minimum=0,
    )
    prio: int = option(
        0,
        "prio",
        help="run with this priority (nice), 19 being the lowest; below 0 needs root",
        minimum=-20,
        maximum=19,
    )
    cpu_affinity: int = option(
        0, "cpu-affinity", help="bind each worker to so many CPUs, the next one to the next; 0 = to none", minimum=0
    )
