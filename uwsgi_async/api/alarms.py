"""The chapter of alarms: `alarm`, and what it makes happen (option ``alarm``).

What lives here: the function, and `Alarms`, what one process has of them. What does not: their texts
(`options.alarms`), watching the log or a socket for something that raises one, which is left to the programs that do
that. Source: uWSGI's core/alarm.c; its page "The uWSGI alarm subsystem".

An alarm acts in the process that raises it, and none of its kinds waits: a line in the log, a command with the message
as its standard input, a signal, a message to a mule. Real uWSGI does it in a thread of the master, so without a master
nothing happens there.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from uwsgi_async.api.mules import mule_msg
from uwsgi_async.api.signals import try_signal
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.options.alarms import AlarmOptions, split_alarm

__all__ = ["alarm"]

logger = logging.getLogger("uwsgi_async")

_MOST_COMMANDS: Final = 16  # at once in a process: a command that hangs must not add up


class Alarms:
    """The alarms that the options name, and what was raised last. Any thread may raise one."""

    def __init__(self, options: AlarmOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._alarms = {name: (plugin, argument) for name, plugin, argument in map(split_alarm, options.alarm)}
        self._last: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()
        self._commands = threading.BoundedSemaphore(_MOST_COMMANDS)

    def __repr__(self) -> str:
        return f"<Alarms {', '.join(self._alarms) or 'none'}>"

    def raise_alarm(self, name: str, message: bytes) -> None:
        """Let an alarm act, unless there is none of that name, or the message is too long, or came a moment ago."""
        found = self._alarms.get(name)
        if found is None:
            return
        if len(message) > self._options.alarm_msg_size:
            logger.warning(
                "[uwsgi-alarm] %s: a message of %d bytes is longer than %d (option alarm-msg-size) and is dropped",
                name, len(message), self._options.alarm_msg_size,
            )  # fmt: skip
            return
        if not self._is_repeated(name, message):
            plugin, argument = found
            try:
                _ACTIONS[plugin](self, argument, message)
            except (UwsgiAsyncError, OSError) as error:
                logger.error("[uwsgi-alarm] %s: %s: %s", name, plugin, error)

    def _is_repeated(self, name: str, message: bytes) -> bool:
        now = self._clock()
        with self._lock:
            last, when = self._last.get(name, (None, 0.0))
            if last == message and now - when < self._options.alarm_freq:
                return True
            self._last[name] = message, now
        return False

    def _log(self, prefix: str, message: bytes) -> None:
        text = message.decode("utf-8", "backslashreplace").rstrip("\n")
        logger.warning("ALARM: %s", f"{prefix} {text}" if prefix else text)

    def _signal(self, number: str, _message: bytes) -> None:
        if not try_signal(int(number)):
            logger.error("[uwsgi-alarm] signal %s is not raised: its queue is full (option signal-bufsize)", number)

    def _mule(self, number: str, message: bytes) -> None:
        mule_msg(message, int(number or 0))

    def _command(self, command: str, message: bytes) -> None:
        if not self._commands.acquire(blocking=False):
            logger.error("[uwsgi-alarm] %d commands run already: %s is not run", _MOST_COMMANDS, command)
            return
        threading.Thread(target=self._run, args=(command, message), name="uwsgi-alarm", daemon=True).start()

    def _run(self, command: str, message: bytes) -> None:
        try:
            with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE) as process:
                process.communicate(message)
            if process.returncode:
                logger.error("[uwsgi-alarm] the command ended with %d: %s", process.returncode, command)
        except OSError as error:
            logger.error("[uwsgi-alarm] the command cannot be run: %s: %s", command, error)
        finally:
            self._commands.release()


_ACTIONS: Final[Mapping[str, Callable[[Alarms, str, bytes], None]]] = {
    "log": Alarms._log,
    "cmd": Alarms._command,
    "signal": Alarms._signal,
    "mule": Alarms._mule,
}

_alarms: Alarms | None = None


@contextmanager
def using(alarms: Alarms) -> Iterator[None]:
    """Let `alarm` use ``alarms`` while the block runs."""
    global _alarms
    before, _alarms = _alarms, alarms
    try:
        yield
    finally:
        _alarms = before


def alarm(name: str, message: str | bytes) -> None:
    """Raise the alarm ``name`` with a message, which goes as UTF-8. Does not wait.

    As in uWSGI nothing happens when there is no such alarm, when the message is longer than the option alarm-msg-size
    (which is logged here), and when the same message was raised less than alarm-freq seconds ago, by this process.
    """
    if not isinstance(name, str):
        raise TypeError(f"alarm() argument 1 must be str, not {type(name).__name__}")
    if not isinstance(message, str | bytes):
        raise TypeError(f"alarm() argument 2 must be str or bytes, not {type(message).__name__}")
    if _alarms is not None:
        _alarms.raise_alarm(name, message.encode() if isinstance(message, str) else message)
