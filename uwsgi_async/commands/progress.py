"""A bar in a terminal that shows how a backlog gets less. Needs rich, the extra `top`; nothing else lives here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar in error output while the block runs; give what tells it how much of how much is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks = progress.add_task("tasks", total=total)
    try:  # around the start, too: whoever interrupts it must get the cursor back
        progress.start()
        yield lambda done, most: progress.update(tasks, completed=done, total=most)
    finally:
        progress.stop()
