"""The options of the spooler.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass
from typing import ClassVar

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolerOptions:
    """Tasks that are files. For `spooler` and `instance.spooling`."""

    FIXED: ClassVar[bool] = True

    spooler: tuple[str, ...] = option(
        (), "spooler", "Q", repeat=True, help="run the tasks in this directory, which is made when it is missing"
    )
    spooler_external: tuple[str, ...] = option(
        (), "spooler-external", repeat=True, help="write tasks into this directory, whose spooler is another instance's"
    )
    spooler_processes: int = option(
        1, "spooler-processes", help="processes for each directory", minimum=1, maximum=1024
    )
    spooler_cores: int = option(
        1,
        "spooler-cores",
        help="tasks that one process runs at once, when they are async or wait through the uwsgi module",
        minimum=1,
        maximum=100_000,
    )
    spooler_frequency: int = option(
        30,
        "spooler-frequency",
        "spooler-freq",
        unit="seconds",
        help="time between two looks at the whole directory; new tasks are seen at once besides",
        minimum=1,
        maximum=86400 * 365,
    )
    spooler_ordered: bool = option(
        False, "spooler-ordered", help="run tasks in the order of their names, not in that of the file system"
    )
    spooler_max_tasks: int = option(
        0, "spooler-max-tasks", help="replace a process after so many tasks; 0 = never", minimum=0
    )
    spooler_signal_as_task: bool = option(
        False, "spooler-signal-as-task", help="count a handled signal as a task, for spooler-max-tasks"
    )
    spooler_harakiri: float = option(
        0.0,
        "spooler-harakiri",
        unit="seconds",
        help="cancel a task that takes longer, and kill the process when that does not help; 0 = no limit",
        minimum=0,
    )
    spooler_chdir: str | None = option(None, "spooler-chdir", help="run tasks in this directory, not in the spooler's")
    spooler_import: tuple[str, ...] = option(
        (),
        "spooler-import",
        "spooler-pyimport",
        "spooler-py-import",
        "spooler-python-import",
        repeat=True,
        help="import this module, or run this file, in each spooler",
    )
    spooler_cheap: bool = option(
        False, "spooler-cheap", help="start a spooler when there is a task, and end it when there is none"
    )
    spooler_quiet: bool = option(False, "spooler-quiet", help="do not log each task")
    spooler_sync: bool = option(
        True, "spooler-sync", help="wait for the disk when a task is written: a crash of the machine loses none"
    )
    spooler_retries: int = option(
        -1,
        "spooler-retries",
        help="how often a task that fails is tried again before it goes to the dead letters; -1 = for ever",
        minimum=-1,
    )
    spooler_retry_delay: float = option(
        0.0,
        "spooler-retry-delay",
        unit="seconds",
        help="time until a task that failed is run again, doubled with each time; 0 = the next look",
        minimum=0,
    )
    spooler_retry_delay_max: float = option(
        3600.0, "spooler-retry-delay-max", unit="seconds", help="longest time between two runs of a task", minimum=1
    )
    spooler_dead_letter: str | None = option(
        None,
        "spooler-dead-letter",
        help="move tasks that are given up here, in the same file system; otherwise to dead-letter in the spooler's",
    )
