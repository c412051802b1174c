"""``uwsgi-async spool``: a spooler's directory, for people. It needs no running instance.

What lives here: the subcommands ls, show, retry, rm, purge and watch. What does not: what is in the directory
(`spooler.listing`), the words of the other commands (`main`). Each answers with the text to print.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from uwsgi_async.commands.table import age, printable, size
from uwsgi_async.errors import UsageError
from uwsgi_async.spooler.claiming import Refusal, claim
from uwsgi_async.spooler.history import LETTER, forget
from uwsgi_async.spooler.listing import Entry, letter, look
from uwsgi_async.spooler.names import DEAD, is_priority, is_task
from uwsgi_async.spooler.task import BODY, Task
from uwsgi_async.spooler.writing import write_task

_HEAD = ("STATE", "PRIO", "RUNS", "SIZE", "WHEN", "TASK")
_LONGEST = 60  # characters of a field in a line
_INTERVAL = 0.5  # seconds between two looks of watch


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the words."""
    what = "look at the tasks of a spooler, and put them in order"
    subcommands = commands.add_parser("spool", help=what, description=what).add_subparsers(
        dest="subcommand", required=True
    )
    for name, target, help in (
        ("ls", "directory", "list the tasks, those for later by their time"),
        ("show", "task", "show what a task holds, and what went wrong"),
        ("retry", "task", "put dead letters back; of a directory all of them"),
        ("rm", "task", "delete tasks that do not run"),
        ("purge", "directory", "delete all tasks that do not run"),
        ("watch", "directory", "show how a backlog drains, until it is empty"),
    ):
        parser = subcommands.add_parser(name, help=help, description=help)
        many = name in ("retry", "rm", "show")
        parser.add_argument("targets", nargs="+" if many else 1, metavar=target, help=_TARGETS[target])
        if name == "retry":
            parser.add_argument("--to", metavar="DIRECTORY", help="of the spooler; if not given, where dead-letter is")
        if name == "purge":
            parser.add_argument("--dead", action="store_true", help="delete the dead letters instead")
            parser.add_argument("--yes", action="store_true", help="do not ask")


_TARGETS = {
    "directory": "the spooler's directory",
    "task": "path of a task, or of the spooler's directory",
}


def run(options: argparse.Namespace) -> str:
    """Carry out a subcommand and return what to print. Raises `UsageError` when it cannot be done."""
    try:
        if options.subcommand == "purge":
            return purge(options.targets[0], dead=options.dead, sure=options.yes)
        if options.subcommand == "retry":
            return retry(options.targets, options.to)
        return _SUBCOMMANDS[options.subcommand](options.targets)
    except OSError as error:
        raise UsageError(f"{error.filename or options.targets[0]}: {error.strerror}") from error


def ls(targets: Sequence[str]) -> str:
    """List the tasks of a directory."""
    entries = look(targets[0])
    if not entries:
        return "no tasks"
    rows = [_HEAD, *(_cells(entry, time.time()) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows
    )


def show(targets: Sequence[str]) -> str:
    """Show everything about tasks."""
    return "\n\n".join(_shown(entry) for entry in _entries(targets))


def retry(targets: Sequence[str], directory: str | None = None) -> str:
    """Put dead letters back. ``directory``: of their spooler; None is the one that the directory of letters is in."""
    letters = [entry for target in targets for entry in _letters(target)]
    for entry in letters:
        if entry.task is None:
            raise UsageError(f"{entry.path} is damaged: {entry.error}")
        write_task(directory or os.path.dirname(os.path.dirname(entry.path)), entry.task)
        _delete(entry.path)
    return f"{len(letters)} put back"


def rm(targets: Sequence[str]) -> str:
    """Delete tasks, and dead letters."""
    for target in targets:
        if not is_task(os.path.basename(target)):
            raise UsageError(f"{target} is no task: its name would begin with uwsgi_spoolfile_on_")
        if not _delete(target):
            raise UsageError(f"{target} runs now, or is gone: nothing was deleted")
    return f"{len(targets)} deleted"


def purge(directory: str, *, dead: bool, sure: bool) -> str:
    """Delete all tasks that do not run, or all dead letters."""
    entries = [entry for entry in look(directory) if (entry.state == "dead") == dead and entry.task is not None]
    what = "dead letters" if dead else "tasks"
    if entries and not sure and not _says_yes(f"delete {len(entries)} {what} in {directory}? [y/N] "):
        raise UsageError(f"nothing was deleted; to delete {len(entries)} {what} without being asked: --yes")
    return f"{sum(_delete(entry.path) for entry in entries)} of {len(entries)} {what} deleted"


def watch(targets: Sequence[str]) -> str:
    """Show how the tasks get fewer until none waits or runs."""
    directory = targets[0]
    most = left = _count(directory)
    with _progress(most) as tell:
        while left:
            time.sleep(_INTERVAL)
            left = _count(directory)
            most = max(most, left)
            tell(most - left, most)
    return f"{most} tasks were run or put off" if most else "no tasks"


_SUBCOMMANDS: dict[str, Callable[[Sequence[str]], str]] = {
    "ls": ls,
    "show": show,
    "rm": rm,
    "watch": watch,
}


class _Plain:
    """Progress without a terminal: a line for each look."""

    def __enter__(self) -> Callable[[int, int], None]:
        return lambda done, most: print(f"{done} of {most}", file=sys.stderr)

    def __exit__(self, *_args: object) -> None:
        pass


class _Bar:
    """Progress on a terminal. Needs rich."""

    def __init__(self, most: int) -> None:
        from rich.progress import Progress

        self._progress = Progress(transient=True)
        self._task = self._progress.add_task("tasks", total=most)

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return lambda done, most: self._progress.update(self._task, completed=done, total=most)

    def __exit__(self, *_args: object) -> None:
        self._progress.stop()


def _progress(most: int) -> _Plain | _Bar:
    if sys.stderr.isatty():
        with suppress(ImportError):  # optional: the extra `top`
            return _Bar(most)
    return _Plain()


def _count(directory: str) -> int:
    return sum(entry.state in ("running", "waiting") for entry in look(directory))


def _entries(targets: Iterable[str]) -> list[Entry]:
    """Return the tasks that are meant. Raises `UsageError` for what is none."""
    found: list[Entry] = []
    for target in targets:
        if os.path.isdir(target):
            found += look(target)
            continue
        path = os.path.abspath(target)
        place, _ = os.path.split(path)
        if os.path.basename(place) == DEAD:
            found += _letters(path)
            continue
        directory = os.path.dirname(place) if is_priority(os.path.basename(place)) else place
        found += [entry for entry in look(directory) if entry.path == path] or _none(target)
    return found


def _letters(target: str) -> list[Entry]:
    """Return the dead letter that is meant; of a directory all of them. Raises `UsageError` for what is none."""
    path = os.path.abspath(target)
    if not os.path.isdir(path):
        entry = letter(path)
        return [entry] if entry is not None else _none(target)
    if os.path.isdir(os.path.join(path, DEAD)):
        path = os.path.join(path, DEAD)
    return [entry for name in sorted(os.listdir(path)) if (entry := letter(os.path.join(path, name))) is not None]


def _none(target: str) -> NoReturn:
    raise UsageError(f"{target} is no task")


def _delete(path: str) -> bool:
    """Delete a task that nobody runs; return whether it was."""
    claimed = claim(path, early=True)
    if isinstance(claimed, Refusal):
        if claimed.why != "damaged":
            return False
        os.unlink(path)
    else:
        claimed.remove()
    forget(path)
    with suppress(FileNotFoundError):
        os.unlink(path + LETTER)
    return True


def _cells(entry: Entry, now: float) -> tuple[str, ...]:
    seconds = entry.due - now
    when = f"in {age(seconds)}" if seconds > 0 else f"{age(-seconds)} ago"
    fields = "" if entry.task is None else _fields(entry.task)
    what = f"{os.path.basename(entry.path)}  {fields or printable(entry.error)}".rstrip()
    return entry.state, entry.level or "-", str(entry.runs or "-"), size(entry.size), when, what


def _fields(task: Task) -> str:
    pairs = [f"{_text(key)}={_text(value)}" for key, value in task.fields.items()]
    if task.body:
        pairs.append(f"{BODY.decode()}={size(len(task.body))}")
    return " ".join(pairs)


def _text(data: bytes) -> str:
    text = printable(data.decode("utf-8", "replace"))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _shown(entry: Entry) -> str:
    lines = [entry.path, f"  {entry.state}, {size(entry.size)} bytes, runs: {entry.runs}"]
    if entry.task is not None:
        lines += [f"  {_text(key)} = {_text(value)}" for key, value in entry.task.fields.items()]
        if entry.task.body:
            lines.append(f"  body: {size(len(entry.task.body))} bytes: {_text(entry.task.body)}")
    lines += [f"  {printable(line)}" for line in entry.error.splitlines()]
    return "\n".join(lines)


def _says_yes(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(question).strip().lower() in ("y", "yes")
