"""Files whose change makes the master do something: looked at by stat(2), a few times a second.

What lives here: `Touches`, which finds what has changed, and `watch_touches`, which looks and tells. What does not:
what is done then (`master`), the modules of the app (`sources`). Why not inotify or a library over it: these are a
handful of paths, a look costs microseconds, and stat(2) also sees what inotify does not: a file that does not exist
yet, a symbolic link that leads elsewhere now, a network or overlay file system. Source: uWSGI's core/utils.c,
uwsgi_check_touches, and core/fsmon.c.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

logger = logging.getLogger("uwsgi_async")

Stamp = tuple[object, ...]

_LOOK = 0.25  # seconds between two looks
_SETTLED = 0.1  # seconds without a further change: then whoever changes a directory is through
_MOST_WAITS = 50  # of these


def stamp_file(path: str) -> Stamp:
    """Return what is different when a file, or what a symbolic link leads to, was changed; () when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_dev


def stamp_tree(path: str) -> Stamp:
    """The same for a file, or for a directory with what is directly in it, as inotify sees it."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        names = []
    return (stamp_file(path), *((name, *stamp_file(os.path.join(path, name))) for name in names))


class Touches:
    """Finds which of some paths have changed since the last look. ``stamp``: `stamp_file` or `stamp_tree`."""

    def __init__(self, stamp: Callable[[str], Stamp]) -> None:
        self._stamp = stamp
        self._stamps: dict[str, Stamp] = {}

    def __repr__(self) -> str:
        return f"<Touches of {len(self._stamps)} paths>"

    def look(self, paths: Sequence[str]) -> list[str]:
        """Return the paths that were changed, made or removed since they were looked at for the first time."""
        # By absolute paths: a reload may change the directory.
        before, self._stamps = self._stamps, {path: self._stamp(path) for path in map(os.path.abspath, paths)}
        for path in self._stamps.keys() - before.keys():
            if not os.path.exists(path):
                logger.warning("there is no %s yet: something happens as soon as there is", path)
        return [path for path, stamp in self._stamps.items() if before.get(path, stamp) != stamp]


@dataclass(frozen=True, slots=True)
class Trigger:
    """``paths``: called at each look, for a reload may change them. ``act``: called with the paths that have changed.

    ``tree``: a path may be a directory, and what is in it counts; its changes are told when they have come to rest.
    """

    paths: Callable[[], Sequence[str]]
    act: Callable[[str], None]
    tree: bool = False


async def watch_touches(
    triggers: Iterable[Trigger], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Look until cancelled. The task has started after the first look, which the others are compared with."""
    watched = [(trigger, Touches(stamp_tree if trigger.tree else stamp_file)) for trigger in triggers]
    for trigger, touches in watched:
        touches.look(trigger.paths())
    task_status.started()
    while True:
        await anyio.sleep(_LOOK)
        for trigger, touches in watched:
            changed = touches.look(trigger.paths())
            if changed:
                if trigger.tree:
                    await _come_to_rest(touches, trigger.paths())
                trigger.act(", ".join(changed))


async def _come_to_rest(touches: Touches, paths: Sequence[str]) -> None:
    for _ in range(_MOST_WAITS):
        await anyio.sleep(_SETTLED)
        if not touches.look(paths):
            return
