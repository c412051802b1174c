"""The options of signals, and of what raises them by itself.

What lives here: one subsystem of `settings.Options`, and how the texts in it are read. What does not: all other ones
(`settings`), what becomes of the signals (`signals`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from uwsgi_async.options.declare import Form, option


def split_timer(text: str) -> tuple[int, float]:
    """Return the signal and the seconds of a timer. Raises ValueError."""
    signal, seconds = text.split()
    return _signal(signal), _above_zero(seconds)


def split_file(text: str) -> tuple[str, int]:
    """Return the path and the signal of a file monitor. Raises ValueError."""
    path, signal = text.rsplit(None, 1)
    return path, _signal(signal)


def _signal(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 255:
        raise ValueError("a signal is a number from 0 to 255")
    return number


def _above_zero(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise ValueError("the seconds must be more than 0")
    return seconds


def _form(example: str, read: Callable[[str], object]) -> Form:
    return Form(example, read)


TIMER = _form("17 3600", split_timer)
FILE = _form("/etc/app.conf 17", split_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalOptions:
    """Signals. For `signals` and `instance.signalling`."""

    signal_bufsize: int = option(
        65536,
        "signal-bufsize",
        "signals-bufsize",
        help="signals that may wait for one target; whoever raises another one waits",
        minimum=1,
        maximum=10**8,
        fixed=True,
    )
    timer: tuple[str, ...] = option(
        (),
        "signal-timer",
        "timer",
        repeat=True,
        form=TIMER,
        help="raise a signal every so many seconds: signal seconds",
    )
    rbtimer: tuple[str, ...] = option(
        (), "signal-rbtimer", "rbtimer", repeat=True, form=TIMER, help="the same; uWSGI has two kinds of timers"
    )
    fs_signal: tuple[str, ...] = option(
        (),
        "fs-signal",
        "touch-signal",
        repeat=True,
        form=FILE,
        help="raise a signal when this file, or one in this directory, is made, changed or removed: path signal",
    )
