"""The log of one process: what the options say, put together.

What lives here: `ProcessLogs`. What does not: each part (the other modules here), requests (`instance.requestlog`).

In most instances every process writes to one descriptor or file by itself. Where lines have to be looked at, because
there are several loggers, encoders or routes, what Python and C print comes through a pipe: to the master, or in a
process without one to a thread. A worker whose master is gone reads its own pipe from then on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from uwsgi_async.errors import OptionError
from uwsgi_async.instance.logs.logfile import Logfile
from uwsgi_async.instance.logs.loggers import STREAMS, FdLogger
from uwsgi_async.instance.logs.opening import open_loggers
from uwsgi_async.instance.logs.stdio import LogStreams, Pipe, PipeThread
from uwsgi_async.options.loggers import LoggerOptions

logger = logging.getLogger("uwsgi_async")


class ProcessLogs:
    """The log of this process.

    ``inherited``: in a process that another one of the instance has started, a descriptor of the log there; None in
    the first process. ``messages`` and ``requests`` take lines; ``piped``: whether what is printed has to come through
    pipes; ``console``: a descriptor of the log without loggers, for the processes that this one starts.
    Raises `OptionError` when a logger cannot be opened.
    """

    def __init__(self, options: LoggerOptions, *, inherited: int | None = None) -> None:
        self._is_first = inherited is None
        self._loggers = loggers = open_loggers(options, inherited)
        self._default = loggers.default
        self.messages, self.requests = loggers.messages, loggers.requests
        self.piped = loggers.piped
        self.console = loggers.default.fd
        self._main = next((f for f in (self._default, self.messages.single) if isinstance(f, Logfile)), None)
        self._streams: LogStreams | None = None
        self._saved: list[int] = []
        self._pipe: Pipe | None = None
        self._thread: PipeThread | None = None
        if self._is_first and options.log_truncate and self._main is not None:
            self._main.truncate()

    @property
    def is_elsewhere(self) -> bool:
        """Whether the log goes to other places than standard error."""
        return self.messages.single is not self._default or not self._loggers.is_stderr

    def __repr__(self) -> str:
        return f"<ProcessLogs: messages {self.messages!r}, requests {self.requests!r}>"

    # --- standard output and error ----------------------------------------------------------------------------

    def take_streams(self) -> None:
        """Let what Python and C print go to the log, as far as no pipe is needed for that."""
        self._streams = LogStreams()
        if self._is_first:
            self._saved = [os.dup(stream) for stream in STREAMS]
        place = self._default if self.piped else self.messages.single
        if isinstance(place, FdLogger) and not (place is self._default and self._loggers.is_stderr):
            place.take_streams()

    def read_streams(self) -> None:
        """Read what this process itself prints, where a pipe is needed. For a process without a master."""
        if self.piped:
            pipe = Pipe(self.messages.write)
            pipe.take_streams()
            self._begin_to_read(pipe)

    def print_to_master(self, reader: int, writer: int) -> None:
        """Let what this process prints go through a pipe that the master reads.

        The reading end is kept for the time after the master: an app that prints must not fail because it is gone.
        """
        if self._pipe is not None:
            self._pipe.close()  # that of the process that has forked this one
        self._pipe = Pipe(self.messages.write, (reader, writer))
        self._pipe.take_streams()
        self._pipe.close_writer()

    def go_on_alone(self) -> None:
        """Read the pipe here: the master, which has read it, is gone."""
        if self._pipe is not None and self._thread is None:
            self._begin_to_read(self._pipe)

    def close(self) -> None:
        """Give back the standard streams and close what was opened. All that was printed is in the log then."""
        if self._streams is not None:
            self._streams.close()
        for saved, stream in zip(self._saved, STREAMS, strict=False):
            os.dup2(saved, stream, inheritable=True)
            os.close(saved)
        if self._thread is not None:
            self._thread.stop()
        if self._pipe is not None:
            self._pipe.close()
        self._loggers.opened.close()

    # --- files ------------------------------------------------------------------------------------------------

    def open_late(self) -> None:
        """Open what was to be opened when the privileges have been dropped (logto2). Raises `OptionError`."""
        if self._is_first and isinstance(self._default, Logfile) and self._default.is_late:
            try:
                self._default.reopen()
            except OSError as error:
                raise OptionError(f"logto2: cannot open {self._default.path!r}: {error.strerror}") from error

    def chown(self, uid: int | None, gid: int | None) -> None:
        """Give the log file to a user and a group, None for whoever has it. Raises `OptionError`."""
        if self._main is not None:
            try:
                self._main.chown(-1 if uid is None else uid, -1 if gid is None else gid)
            except OSError as error:
                raise OptionError(f"logfile-chown: cannot give away {self._main.path!r}: {error.strerror}") from error

    def size(self) -> int:
        """Return the bytes in the log file; 0 when no option names one."""
        if self._main is None:
            return 0
        return self._main.size()

    def is_full(self) -> bool:
        """Whether the log file is to be rotated."""
        return self._main is not None and self._main.is_full()

    def rotate(self) -> None:
        """Rename the log file and begin another."""
        if self._main is not None:
            self._attempt(self._main.rotate, self._main)

    def reopen(self) -> None:
        """Open all log files again."""
        size = self.size()
        for file in self._files():
            self._attempt(file.reopen, file)
        if self._is_first and self._main is not None:
            logger.info("logsize: %d, the log file %s has been opened again", size, self._main.path)

    def follow(self) -> bool:
        """Open those log files again that somebody has moved away; return whether there was one."""
        moved = [file for file in self._files() if self._attempt(file.follow, file)]
        return bool(moved)

    def _attempt(self, action: Callable[[], bool | None], file: Logfile) -> bool:
        try:
            return bool(action())
        except OSError as error:
            logger.error("the log file %s cannot be opened again, the log goes on as it was: %s", file.path, error)
            return False

    def _files(self) -> list[Logfile]:
        loggers = {id(each): each for each in (self._default, *self.messages.loggers, *self.requests.loggers)}
        return [each for each in loggers.values() if isinstance(each, Logfile)]

    def _begin_to_read(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._thread = PipeThread(pipe)
