"""The decorators of signals, and of what raises them: `signal`, `timer`, `mstimer`, `rbtimer`, `cron`, `filemon`.

What lives here: these, `get_free_signal`, and `BeforeInstances`. What does not: what they call (`api.signals`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from uwsgi_async.api import signals
from uwsgi_async.errors import SignalError

F = TypeVar("F", bound=Callable[..., Any])

_SIGNALS: Final = 256


class BeforeInstances:
    """What was decorated while no instance was there: it is registered with each that begins."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.numbers: set[int] = set()

    def __repr__(self) -> str:
        return f"<signals {sorted(self.numbers)}, registered when an instance begins>"

    def register(self) -> None:
        for call in self.calls:
            call()


before = BeforeInstances()


def get_free_signal() -> int:
    """Return the lowest number that has no handler in this process. Raises `SignalError` when all have one."""
    has_instance = signals.current_end() is not None
    for number in range(_SIGNALS):
        if not (signals.signal_registered(number) if has_instance else number in before.numbers):
            return number
    raise SignalError("No free uwsgi signal available")


def signal(num: int, *, target: str = "") -> Callable[[F], F]:
    """Make the function the handler of the signal ``num``. ``target``: as for `register_signal`."""
    return lambda function: _register(function, num, target)


def timer(secs: int, *, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function every ``secs`` seconds. ``signum``: the signal that is used; None is a free one."""
    return lambda function: _register(function, signum, target, signals.add_timer, secs)


def mstimer(msecs: int, *, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function every ``msecs`` milliseconds."""
    return lambda function: _register(function, signum, target, signals.add_ms_timer, msecs)


def rbtimer(secs: int, *, iterations: int = 0, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function every ``secs`` seconds, ``iterations`` times; 0 is for ever, as uWSGI's, which has no other."""
    return lambda function: _register(function, signum, target, signals.add_rb_timer, secs, iterations)


def cron(
    minute: int, hour: int, day: int, month: int, dayweek: int, *, signum: int | None = None, target: str = ""
) -> Callable[[F], F]:
    """Call the function in each minute that matches. See `add_cron` for what the numbers mean."""
    when = (minute, hour, day, month, dayweek)
    return lambda function: _register(function, signum, target, signals.add_cron, *when)


def filemon(fsobj: str, *, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function when something happens to the file, or in the directory, ``fsobj``."""
    return lambda function: _register(function, signum, target, signals.add_file_monitor, fsobj)


def _register(function: F, signum: int | None, target: str, add: Callable[..., object] | None = None, *words: Any) -> F:
    """Register ``function``, now or when an instance begins, and then call ``add`` with its number and ``words``."""
    number = get_free_signal() if signum is None else signum

    def register() -> None:
        signals.register_signal(number, target, function)
        if add is not None:
            add(number, *words)

    if signals.current_end() is None:
        before.calls.append(register)
        before.numbers.add(number & (_SIGNALS - 1))
    else:
        register()
    return function
