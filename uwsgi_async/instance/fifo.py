"""The master FIFO: a named pipe through which an operator tells the master what to do, one letter for each command.

What lives here: `MasterFifo`, the pipe and its ten slots, and what is said to the letters that cannot be obeyed here.
What does not: what the other letters do (`controls`). Source: uWSGI's page "The Master FIFO" and core/fifo.c.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio

from uwsgi_async.errors import BrokenError, UsageError
from uwsgi_async.instance.ownfile import OwnFile

logger = logging.getLogger("uwsgi_async")

SLOTS: Final = 10

_MODE = 0o600  # as uWSGI: whoever may write here rules the instance
_READ_SIZE = 4096
_LOOK = 1.0  # seconds between two looks whether the pipe is still there
_IMPOSSIBLE: Final = {
    "B": "there is no emperor that could send reinforcement: start another instance, or more processes",
    "E": "there is no emperor that could scan for vassals",
    "S": "there are no subscriptions that could be blocked",
    "f": "the master does not fork itself: r starts a new generation, and a second instance may listen beside this one",
}


class MasterFifo:
    """The pipe of the active slot, from `open` to `close`.

    ``paths``: of the slots, the first is slot 0. ``commands``: what is called for each letter. ``on_replaced``: called
    with the pipe that there was and the one that there is now.
    """

    def __init__(
        self,
        paths: Sequence[str],
        commands: Mapping[str, Callable[[], None]],
        on_replaced: Callable[[OwnFile, OwnFile], None] = lambda _old, _new: None,
    ) -> None:
        if len(paths) > SLOTS:
            raise UsageError(f"master-fifo: expected {SLOTS} paths at most, but {len(paths)} came")
        self._paths = [os.path.abspath(path) for path in paths]  # a reload may change the directory
        self._commands = commands
        self._on_replaced = on_replaced
        self._slot = 0
        self._fd = -1
        self._file: OwnFile | None = None

    def __repr__(self) -> str:
        return f"<MasterFifo {self.path}>"

    @property
    def path(self) -> str:
        """The path of the active slot."""
        return self._paths[self._slot]

    def open(self) -> OwnFile:
        """Make the pipe and return its file, in the place of one that another instance has left.

        Raises `UsageError` when something else is there, `BrokenError` when the system refuses.
        """
        try:
            if os.path.lexists(self.path):
                if not stat.S_ISFIFO(os.lstat(self.path).st_mode):
                    raise UsageError(f"master-fifo: {self.path!r} is there already and is no FIFO: remove or rename it")
                os.unlink(self.path)
            os.mkfifo(self.path, _MODE)
            file = OwnFile.of(self.path, written=True)
            # Open for writing too, so that it has no end when a writer closes it.
            self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise BrokenError(f"master-fifo: cannot make {self.path!r}: {error.strerror}") from error
        self._file = file
        return file

    def close(self) -> None:
        """Remove the pipe, unless its path is somebody else's by now. May be called twice."""
        if self._file is None:
            return
        self._file.remove()
        self._file = None
        os.close(self._fd)

    async def run(self) -> None:
        """Obey until cancelled, and make the pipe again when somebody has removed it."""
        while True:
            with anyio.move_on_after(_LOOK):
                await anyio.wait_readable(self._fd)
            try:
                letters = os.read(self._fd, _READ_SIZE)
            except BlockingIOError:
                self._ensure()
                continue
            for letter in letters.decode("latin-1"):
                self.obey(letter)

    def _ensure(self) -> None:
        if not os.path.lexists(self.path):
            self._replace()

    def obey(self, letter: str) -> None:
        """Do what one letter says, or log why it is not done. White space says nothing."""
        if letter.isdecimal():
            self._change_slot(int(letter))
        elif letter in self._commands:
            self._commands[letter]()
        elif letter in _IMPOSSIBLE:
            logger.warning("master FIFO: %s is not obeyed: %s", letter, _IMPOSSIBLE[letter])
        elif not letter.isspace():
            known = "".join(sorted({*self._commands, *_IMPOSSIBLE}))
            logger.warning("master FIFO: there is no command %r; there are %s and the slots 0 to 9", letter, known)

    def _change_slot(self, slot: int) -> None:
        if slot >= len(self._paths):
            logger.warning("master FIFO: there is no slot %d: slot 0 is taken", slot)
            slot = 0
        if slot != self._slot:
            self._replace(slot)
        logger.info("active master fifo is now %s", self.path)

    def _replace(self, slot: int | None = None) -> None:
        """Make the pipe of ``slot``, None for the same; keep the one there is when that fails."""
        fd, before, file = self._fd, self._slot, self._file
        assert file is not None
        self._slot = before if slot is None else slot
        try:
            new = self.open()
        except (UsageError, BrokenError) as error:
            self._slot = before
            logger.error("%s", error)
            return
        os.close(fd)
        file.remove()
        self._on_replaced(file, new)
