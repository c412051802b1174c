"""Raw memory that all processes of an instance share: bytes, and whole numbers of 8 to 64 bits in the machine's order.

What lives here: `SharedArea`, one of them, and `SharedAreas`, those of an instance. What does not: what the options
mean (`areaspec`), the words behind it (`areamemory`), the documented functions (`api.sharedarea`). Source:
core/sharedarea.c.

Each operation is one to everybody else. Besides there is a lock for apps, shared by readers or held by one writer;
while it is held, operations raise `AreaLockedError` for `SharedArea.call_nowait` and `wait_and_call` to deal with.
A process that is killed while it writes many bytes may have written only some of them: it is raw memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio

from uwsgi_async.errors import OptionError
from uwsgi_async.options.settings import SharedAreaOptions
from uwsgi_async.state.areamemory import WORDS, AreaLockedError, AreaMemory
from uwsgi_async.state.areaspec import AreaSpec, area_specs
from uwsgi_async.state.bell import Bell
from uwsgi_async.state.claims import ByteClaim
from uwsgi_async.state.locks import Lock
from uwsgi_async.state.memory import Memory
from uwsgi_async.state.mutex import Mutex, NoMutex
from uwsgi_async.state.sharedarea_quick import Part

T = TypeVar("T")

_CONTROL: Final = 128  # bytes for each area: a mutex and a few words


@dataclass(frozen=True, slots=True)
class SharedAreaStatistics:
    """``size``: bytes. ``updates``: writes so far. ``holder``: a process that holds the lock; None: nobody."""

    id: int
    size: int
    updates: int
    holder: int | None


class SharedArea:
    """One area, in one process. ``lock``: for apps. ``size``: bytes. A position that is not inside is a ValueError."""

    def __init__(self, number: int, memory: Memory, control: Memory, bell: Bell, locks: int) -> None:
        self.id = number
        self.size = len(memory)
        self.memory = memory
        start = number * _CONTROL
        words = memoryview(control.map)[start + Mutex.SIZE : start + Mutex.SIZE + 8 * WORDS].cast("Q")
        self._inside = AreaMemory(number, memory, words, bell)
        self._mutex: Mutex | NoMutex = Mutex(control.map, start)
        self._bell = bell
        self.lock = AreaLock(self, locks, bell)

    def __repr__(self) -> str:
        return f"<SharedArea {self.id} of {self.size} bytes>"

    def read(self, position: int, length: int) -> bytes:
        """Return bytes. ``length``: 0 is until the end."""
        end = self._end(position, length or max(self.size - position, 0))
        data = self._inside.read_now(position, end)
        return self._mutex.run(self._inside.read, position, end) if data is None else data

    def write(self, position: int, data: bytes) -> int:
        """Write bytes, none is fine; return how many."""
        end = self._end(position, len(data))
        self._mutex.run(self._inside.write, position, end, data)
        return len(data)

    def read_number(self, width: int, position: int) -> int:
        """Return a signed number of ``width`` bytes: 1, 2, 4 or 8."""
        if not 0 <= position <= self.size - width:
            self._end(position, width)
        value = self._inside.read_number_now(width, position)
        return self._mutex.run(self._inside.read_number, width, position) if value is None else value

    def write_number(self, width: int, position: int, value: int) -> None:
        """Write a number of ``width`` bytes; what does not fit is taken modulo its size."""
        if not 0 <= position <= self.size - width:
            self._end(position, width)
        self._mutex.run(self._inside.write_number, width, position, value)

    def add(self, width: int, position: int, amount: int) -> int:
        """Add to a number of ``width`` bytes; it wraps around. Return the new value."""
        if not 0 <= position <= self.size - width:
            self._end(position, width)
        return self._mutex.run(self._inside.add, width, position, amount)

    def view(self) -> memoryview:
        """Return the whole area, to be read and written without any locking."""
        return memoryview(self.memory.map)

    def update(self) -> None:
        """Wake who waits for an update, after writing through a `view`."""
        self._mutex.run(self._inside.update)

    async def wait(self) -> None:
        """Wait until somebody writes to the area, in whichever process. Nobody polls. A checkpoint."""
        seen = self._mutex.run(self._inside.updates)
        with self._bell.listen() as listener:
            while True:
                listener.forget()
                if self._mutex.run(self._inside.updated_or_noted, seen):
                    return
                await listener.wait()

    def part(self) -> Part:
        """Return what the short way needs of this area."""
        assert isinstance(self._mutex, Mutex)
        return self.memory.map, self.size, self._inside.words, self._mutex

    def statistics(self) -> SharedAreaStatistics:
        return SharedAreaStatistics(self.id, self.size, self._inside.updates(), self.lock.holder())

    def call_nowait(self, owner: object, shared: bool, operation: Callable[..., T], args: Sequence[Any]) -> T:
        """Call an operation that has raised `AreaLockedError`, if ``owner`` may go on without waiting.

        Raises `AreaLockedError` again when it may not, `DeadlockError` when it would wait for itself.
        """
        if self.lock.held_by(owner, shared=shared):
            return self._permit(operation, args)
        if not self.lock.acquire_nowait(owner, shared=shared):
            raise AreaLockedError(self.id, shared)
        try:
            return self._permit(operation, args)
        finally:
            self.lock.release(owner)

    async def wait_and_call(self, owner: object, shared: bool, operation: Callable[..., T], args: Sequence[Any]) -> T:
        """The same, and wait in line for the lock. Raises `DeadlockError`."""
        if self.lock.held_by(owner, shared=shared):
            return self._permit(operation, args)
        await self.lock.acquire(owner, shared=shared)
        try:
            return self._permit(operation, args)
        finally:
            self.lock.release(owner)

    def mark(self) -> None:
        """Note that an app's lock is held."""
        self._mutex.run(self._inside.mark)

    def unmark(self) -> None:
        """Note that it is not, if nobody holds it any more, in any process."""
        self._mutex.run(self._unmark)

    def close(self) -> None:
        """Give back what this process holds. A view that an app has stays good."""
        self._mutex = NoMutex()
        self._inside.close()
        self.memory.close()

    def _unmark(self) -> None:
        if self.lock.holder() is None:
            self._inside.unmark()

    def _permit(self, operation: Callable[..., T], args: Sequence[Any]) -> T:
        thread = threading.get_ident()
        self._inside.permitted.add(thread)
        try:
            return operation(*args)
        finally:
            self._inside.permitted.discard(thread)

    def _end(self, position: int, length: int) -> int:
        """Return the position behind the last byte. Raises ValueError when any byte is not inside."""
        end = position + length
        if position < 0 or length < 0 or end > self.size or position >= self.size:
            raise ValueError(
                f"{length} bytes at position {position} are not all inside of sharedarea {self.id}, which has "
                f"{self.size}"
            )
        return end


class AreaLock(Lock):
    """The lock of an area for apps: the area knows whether it is held at all."""

    def __init__(self, area: SharedArea, fd: int, bell: Bell) -> None:
        turnstile, claim = ByteClaim(fd, 2 * area.id), ByteClaim(fd, 2 * area.id + 1)
        super().__init__(f"the lock of sharedarea {area.id}", turnstile, claim, bell)
        self._area = area

    def acquire_nowait(self, owner: object, *, shared: bool = False) -> bool:
        taken = super().acquire_nowait(owner, shared=shared)
        if taken:
            self._area.mark()
        return taken

    async def acquire(self, owner: object, *, shared: bool = False) -> None:
        await super().acquire(owner, shared=shared)
        self._area.mark()

    def release(self, owner: object, *, only_owner: bool = False) -> bool:
        released = super().release(owner, only_owner=only_owner)
        if released:
            self._area.unmark()
        return released


class SharedAreas:
    """The areas of an instance, by their numbers from 0."""

    def __init__(self, memories: Sequence[Memory], control: Memory, bell: Bell, locks: int) -> None:
        self._control = control
        self._bell = bell
        self._locks = locks
        self._areas = [SharedArea(number, memory, control, bell, locks) for number, memory in enumerate(memories)]

    @classmethod
    def create(cls, options: SharedAreaOptions) -> SharedAreas | None:
        """Return the areas that the options configure, None when they do not. Raises `OptionError`."""
        specs = area_specs(options)
        if not specs:
            return None
        with ExitStack() as opened:
            for spec in specs:
                if spec.fd is not None:
                    opened.callback(os.close, spec.fd)
            control = Memory.create("sharedarea control", len(specs) * _CONTROL)
            opened.callback(control.close)
            for number in range(len(specs)):
                Mutex(control.map, number * _CONTROL).initialize()
            memories = []
            for number, spec in enumerate(specs):
                memories.append(_memory(number, spec))
                if spec.fd is None:
                    opened.callback(memories[-1].close)
            areas = cls(memories, control, Bell.create(), os.memfd_create("uwsgi_async sharedarea locks"))
            opened.pop_all()
        return areas

    @classmethod
    def attach(cls, described: Any) -> SharedAreas:
        areas, control, bell, locks = described
        return cls([Memory(*area) for area in areas], Memory(control), Bell(bell), locks)

    def __repr__(self) -> str:
        return f"<SharedAreas {self._areas!r}>"

    def __len__(self) -> int:
        return len(self._areas)

    def __getitem__(self, number: int) -> SharedArea:
        """Return an area by its number. Raises ValueError beyond the last."""
        if not 0 <= number < len(self._areas):
            raise ValueError(f"there is no sharedarea {number}: they are numbered 0 to {len(self._areas) - 1}")
        return self._areas[number]

    def parts(self) -> list[Part]:
        """Return what the short way needs, by the areas' numbers."""
        return [area.part() for area in self._areas]

    @property
    def fds(self) -> Sequence[int]:
        return (*(area.memory.fd for area in self._areas), self._control.fd, self._bell.fd, self._locks)

    def described(self) -> Any:
        areas = [(area.memory.fd, area.size, area.memory.offset) for area in self._areas]
        return [areas, self._control.fd, self._bell.fd, self._locks]

    async def maintain(self) -> None:
        """Nothing needs to be looked after."""
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is kept back."""

    def sections(self) -> Mapping[str, Any]:
        """Tell who holds the lock of each area: process ids."""
        return {"locks": [{f"sharedarea{area.id}": area.lock.holder() or 0} for area in self._areas]}

    def close(self) -> None:
        """Give back what this process holds."""
        for area in self._areas:
            area.close()
        self._control.close()
        self._bell.close()
        os.close(self._locks)


def _memory(number: int, spec: AreaSpec) -> Memory:
    if spec.fd is None:
        return Memory.create(f"sharedarea {number}", spec.size)
    try:
        return Memory(spec.fd, spec.size, spec.offset)
    except (OSError, ValueError) as error:
        raise OptionError(f"sharedarea: area {number} cannot be mapped into memory: {error}") from error
