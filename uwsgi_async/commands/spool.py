"""``uwsgi-async spool``: a spooler's directory, for people. It needs no running instance.

What lives here: the words, and the subcommands ls, show, retry, rm, purge and watch. What does not: what is in the
directory (`spooler.listing`), what is due when (`schedule`), the words of the other commands (`main`). Each answers
with the text to print.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from uwsgi_async.commands import schedule
from uwsgi_async.commands.table import age, columns, printable, size
from uwsgi_async.commands.tasktext import fields_of, text_of
from uwsgi_async.errors import UsageError
from uwsgi_async.spooler.claiming import Refusal, claim
from uwsgi_async.spooler.history import LETTER, forget
from uwsgi_async.spooler.listing import Entry, letter, look
from uwsgi_async.spooler.names import DEAD, is_priority, is_task
from uwsgi_async.spooler.writing import write_task

_HEAD = ("STATE", "PRIO", "RUNS", "SIZE", "WHEN", "TASK")
_INTERVAL = 0.5  # seconds between two looks of watch


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the words."""
    what = "look at the tasks of a spooler, and put them in order"
    subcommands = commands.add_parser("spool", help=what, description=what).add_subparsers(
        dest="subcommand", required=True
    )
    for name, target, help in (
        ("ls", "directory", "list the tasks, those for later by their time"),
        ("schedule", "directory", "show what is run when, the soonest first"),
        ("show", "task", "show what a task holds, and what went wrong"),
        ("retry", "task", "put dead letters back; of a directory all of them"),
        ("rm", "task", "delete tasks that do not run"),
        ("purge", "directory", "delete all tasks that do not run"),
        ("watch", "directory", "show how a backlog drains, until it is empty"),
    ):
        parser = subcommands.add_parser(name, help=help, description=help)
        many = name in ("schedule", "retry", "rm", "show")
        parser.add_argument("targets", nargs="+" if many else 1, metavar=target, help=_TARGETS[target])
        if name == "schedule":
            parser.add_argument("--json", action="store_true", help="print JSON, one list for all directories")
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
        if options.subcommand == "schedule":
            return (schedule.render_json if options.json else schedule.render)(options.targets, time.time())
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
    return columns([_HEAD, *(_cells(entry, time.time()) for entry in entries)])


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
    """Show how the tasks get fewer until none waits or runs, or the user has seen enough."""
    directory = targets[0]
    seen = left = _backlog(directory)
    try:
        with _progress(len(seen)) as tell:
            while left:
                time.sleep(_INTERVAL)
                left = _backlog(directory)
                seen |= left
                tell(len(seen - left), len(seen))
    except KeyboardInterrupt:
        return f"{len(seen - left)} of {len(seen)} tasks were run or put off"
    return f"{len(seen)} tasks were run or put off" if seen else "no tasks"


_SUBCOMMANDS: dict[str, Callable[[Sequence[str]], str]] = {
    "ls": ls,
    "show": show,
    "rm": rm,
    "watch": watch,
}


_Tell = Callable[[int, int], object]  # is told how many tasks of how many are done


@contextmanager
def _progress(most: int) -> Iterator[_Tell]:
    """Show progress in error output: a bar on a terminal, if rich is there (the extra `top`), else a line each time."""
    if sys.stderr.isatty():
        try:
            from uwsgi_async.commands.progress import bar
        except ImportError:
            pass
        else:
            with bar(most) as tell:
                yield tell
            return
    yield lambda done, most: print(f"{done} of {most}", file=sys.stderr)


def _backlog(directory: str) -> set[str]:
    """Return the paths of what runs or waits."""
    return {entry.path for entry in look(directory) if entry.state in ("running", "waiting")}


def _entries(targets: Iterable[str]) -> list[Entry]:
    """Return the tasks that are meant. Raises `UsageError` for what is none."""
    found: list[Entry] = []
    for target in targets:
        path = os.path.abspath(target)
        if os.path.isdir(path):
            found += _letters(path) if os.path.basename(path) == DEAD else look(target)
            continue
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
    fields = "" if entry.task is None else fields_of(entry.task)
    what = f"{os.path.basename(entry.path)}  {fields or printable(entry.error)}".rstrip()
    return entry.state, entry.level or "-", str(entry.runs or "-"), size(entry.size), when, what


def _shown(entry: Entry) -> str:
    lines = [entry.path, f"  {entry.state}, {size(entry.size)} bytes, runs: {entry.runs}"]
    if entry.task is not None:
        lines += [f"  {text_of(key)} = {text_of(value)}" for key, value in entry.task.fields.items()]
        if entry.task.body:
            lines.append(f"  body: {size(len(entry.task.body))} bytes: {text_of(entry.task.body)}")
    lines += [f"  {printable(line)}" for line in entry.error.splitlines()]
    return "\n".join(lines)


def _says_yes(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(question).strip().lower() in ("y", "yes")
