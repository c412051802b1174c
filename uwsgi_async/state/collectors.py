"""Metrics that get their values now and then: from the instance, from files, from other metrics. And their thresholds.

What lives here: `Collectors`, which one process of the instance has. What does not: the values' memory and what apps
do (`metrics`), the instance's own numbers (`instance.metrics` is the `Source`). Source: core/metrics.c.

Each metric may be kept in a file of its name (option ``metrics-dir``), as uWSGI's: its value, a newline, and zeros up
to a page.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio.to_thread
from anyio.lowlevel import checkpoint

from uwsgi_async.errors import OptionError
from uwsgi_async.state.metricspec import MetricSpec, MetricType, Threshold, numbers
from uwsgi_async.state.wrap import quotient

logger = logging.getLogger("uwsgi_async")

Source = Callable[[], Mapping[str, int]]
"""Gives the values of the instance's own metrics by their names; those that it does not name stay as they are."""

_PAGE: Final = 4096  # bytes of a file, whatever the machine's page size
_FILE_LIMIT: Final = 4096  # bytes that are read of a file that a metric is collected from
_AT_ONCE: Final = 500  # metrics that are collected between two turns of the event loop
_NUMBER: Final = re.compile(rb"\s*([+-]?\d+)")
_SEPARATORS: Final = re.compile(rb"[ \t\r\n\0]+")


class Collectors:
    """Collects, watches and writes.

    ``source``: see `Source`. ``on_alarm``: called with the name and the message of an alarm; it is logged in any case.
    """

    def __init__(self, specs: Sequence[MetricSpec], thresholds: Sequence[Threshold], directory: str | None) -> None:
        self.source: Source = dict
        self.on_alarm: Callable[[str, str], object] = lambda alarm, message: None
        self._specs = specs
        self._numbers = numbers(specs)
        self._thresholds: dict[int, list[Threshold]] = {}
        for threshold in thresholds:
            if threshold.key not in self._numbers:
                raise OptionError(f"metric-threshold: there is no metric {threshold.key!r}")
            self._thresholds.setdefault(self._numbers[threshold.key], []).append(threshold)
        self._directory = directory
        self._bases: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._collected: dict[int, float] = {}
        self._alarmed: dict[Threshold, float] = {}

    def open_files(self, *, restore: bool) -> Mapping[str, int]:
        """Make the files; return what metrics begin with that are not to begin with their initial values.

        ``restore``: with what the files say. That is meant for what is counted: what apps count goes on there, and so
        do the instance's own counters; what is measured anew each second is not restored. Raises `OptionError`.
        """
        if self._directory is None:
            if restore:
                raise OptionError("metrics-dir-restore: give the directory with metrics-dir")
            return {}
        try:
            restored = self._read_files() if restore else {}
            for spec in self._specs:
                self._write_file(spec.name, restored.get(spec.name, spec.initial))
        except OSError as error:
            raise OptionError(f"metrics-dir: {error.filename!r} cannot be used: {error.strerror}") from error
        return restored

    async def collect(self, values: memoryview, set_value: Callable[[int, int], None]) -> None:
        """Collect what is due into ``values``, raise alarms, write files. A checkpoint now and then.

        ``set_value``: sets one that apps may change at the same time.
        """
        now, own = time.monotonic(), self.source()
        changed: dict[str, int] = {}
        for number, spec in enumerate(self._specs):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await checkpoint()
            if spec.alias is not None or now - self._collected.get(number, float("-inf")) < spec.freq - 0.5:
                continue
            self._collected[number] = now
            if spec.collector is not None:
                values[number] = _clamped(self._value(spec, values[number], values, own))
            if number in self._thresholds:
                self._watch(number, values[number], set_value, now)
            if self._directory is not None and self._written.get(spec.name) != values[number]:
                changed[spec.name] = values[number]
        if changed:
            await anyio.to_thread.run_sync(self._write_files, changed)

    # --- values -----------------------------------------------------------------------------------------------

    def _value(self, spec: MetricSpec, value: int, values: memoryview, own: Mapping[str, int]) -> int:
        """Return the new value of a metric that has a collector; ``value``: the old one."""
        children = [values[self._numbers[name]] for name in spec.children]
        total = sum(children)
        match spec.collector:
            case "ptr":
                return self._bases.get(spec.name, 0) + own[spec.name] if spec.name in own else value
            case "file":
                return spec.initial + read_number(spec.path, spec.argument)
            case "accumulator":
                return value + total
            case "avg":
                return spec.initial + (quotient(total, len(children)) if children else 0)
            case "multiplier":
                return spec.initial + total * spec.argument
            case "adder":
                return spec.initial + total + spec.argument
        return spec.initial + total

    # --- thresholds -------------------------------------------------------------------------------------------

    def _watch(self, number: int, value: int, set_value: Callable[[int, int], None], now: float) -> None:
        for threshold in self._thresholds[number]:
            if value < threshold.value:
                continue
            if threshold.reset is not None:
                set_value(number, threshold.reset)
            due = now - self._alarmed.get(threshold, float("-inf")) >= threshold.rate
            if threshold.alarm is not None and due:
                self._alarmed[threshold] = now
                self._alarm(threshold.alarm, threshold.message or threshold.key)

    def _alarm(self, alarm: str, message: str) -> None:
        logger.warning("[uwsgi-alarm] %s: %s", alarm, message)
        try:
            self.on_alarm(alarm, message)
        except Exception:
            logger.exception("what is called for alarms has raised an error")

    # --- files ------------------------------------------------------------------------------------------------

    def _read_files(self) -> dict[str, int]:
        restored = {}
        for spec in self._specs:
            counts = spec.collector in (None, "accumulator") and spec.alias is None
            if counts or (spec.collector == "ptr" and spec.type is MetricType.COUNTER):
                try:
                    with open(self._path(spec.name), "rb") as file:
                        found = _NUMBER.match(file.read(_PAGE))
                except FileNotFoundError:
                    continue
                if found:
                    restored[spec.name] = _clamped(int(found[1]))
                    if not counts:
                        self._bases[spec.name] = restored[spec.name]
        return restored

    def _write_files(self, changed: Mapping[str, int]) -> None:
        for name, value in changed.items():
            try:
                self._write_file(name, value)
            except OSError as error:
                logger.error("metrics-dir: %s cannot be written: %s", self._path(name), error.strerror)

    def _write_file(self, name: str, value: int) -> None:
        """Write a file in one piece, so that who reads it sees the old value or the new one."""
        fd = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(fd, f"{value}\n".encode().ljust(_PAGE, b"\0"), 0)
        finally:
            os.close(fd)
        self._written[name] = value

    def _path(self, name: str) -> str:
        return os.path.join(self._directory or "", name)


def read_number(path: str, index: int) -> int:
    """Return the ``index``-th word of a file as a number, from 0; 0 when there is none, or no file.

    When a file begins with space, its first word is both the words 0 and 1, as in uWSGI.
    """
    try:
        with open(path, "rb") as file:
            words = _SEPARATORS.split(file.read(_FILE_LIMIT))
    except OSError as error:
        logger.error("metric: %s cannot be read: %s", path, error.strerror)
        return 0
    if index == 0 and words[0] == b"" and len(words) > 1:
        index = 1
    found = _NUMBER.match(words[index]) if 0 <= index < len(words) else None
    return int(found[1]) if found else 0


def _clamped(value: int) -> int:
    """Return what is nearest to ``value`` in 64 bits."""
    return max(-(2**63), min(value, 2**63 - 1))
