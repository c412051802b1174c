"""Spoolers that run only when there are tasks (option ``spooler-cheap``), seen from the master.

What lives here: `start_when_needed`. What does not: a spooler's process (`keeper`), the directory (`spooler`). The
master only looks at names and times; it opens no task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio

from uwsgi_async.instance.keeper import Keeper
from uwsgi_async.spooler.scanning import scan
from uwsgi_async.spooler.watching import DirectoryWatch

logger = logging.getLogger("uwsgi_async")

_LOOK: Final = 1.0  # seconds between two looks while a spooler runs


async def start_when_needed(
    keepers: Sequence[Keeper],
    frequency: Callable[[], float],
    is_idle: Callable[[Keeper], bool],
    is_over: Callable[[], bool],
) -> None:
    """Start spoolers of one directory when there are tasks, and end them when there are none, until cancelled.

    ``frequency``: returns the seconds between two looks. ``is_idle``: whether a spooler runs no task now.
    ``is_over``: whether none is to be started any more.
    """
    directory = keepers[0].role.path
    watch = None
    try:
        with suppress(OSError):
            watch = DirectoryWatch(directory)
        while not is_over():
            with suppress(OSError):
                found = scan(directory)
                if watch is not None and watch.watch(found.levels):
                    found = scan(directory)  # what came between looking and watching
                _adapt(keepers, len(found.tasks), is_idle)
            running = any(keeper.wanted or keeper.processes for keeper in keepers)
            with anyio.move_on_after(_LOOK if running else frequency()):
                if watch is None or running:
                    await anyio.sleep_forever()
                else:
                    await watch.news()
    finally:
        if watch is not None:
            watch.close()


def _adapt(keepers: Sequence[Keeper], tasks: int, is_idle: Callable[[Keeper], bool]) -> None:
    if tasks:
        for keeper in keepers[:tasks]:
            if not keeper.wanted:
                keeper.run()
    else:
        for keeper in keepers:
            if keeper.wanted and keeper.ready and is_idle(keeper):
                logger.info("cheaping spooler %s ...", keeper.role.path)
                keeper.end(hand_over=False)
