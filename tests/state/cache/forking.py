"""What must be true through forks, as a program of its own, which has no threads of other tests.

``python -m tests.state.cache.forking NAME`` runs one of `CASES`, and exits with 0 when it held.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from collections.abc import Callable

from tests.state.cache.making import one

SECONDS = 0.5


def child(work: Callable[[], object]) -> int:
    """Start a child that runs ``work``; return its process id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def both_sides_go_on() -> None:
    """A child has the cache, and so has its parent afterwards."""
    with one("items=9") as cache:
        cache.put("a", "1", 0, False)
        assert [cache.get("a") for _ in range(8)] == [b"1"] * 8

        def work() -> None:
            assert cache.get("a") == b"1"
            assert cache.put("a", "2", 0, True) is True

        assert ended(child(work)) == 0
        assert cache.get("a") == b"2"
        assert cache.put("b", "3", 0, False) is True


def grandchildren_have_it() -> None:
    """As workers do, which a fork server forks twice."""
    with one("items=9") as cache:
        cache.put("a", "1", 0, False)

        def work() -> None:
            assert cache.get("a") == b"1"
            assert ended(child(lambda: cache.put("b", "2", 0, False))) == 0
            assert cache.get("b") == b"2"

        assert ended(child(work)) == 0
        assert cache.get("b") == b"2"


def readers_never_go_back() -> None:
    """Who has seen a value, or been told of it, never sees an older one, also when it remembers values."""
    with one("items=99") as cache:
        cache.put("k", "0", 0, False)
        told = memoryview(mmap.mmap(-1, 4096)).cast("Q")
        end = time.monotonic() + SECONDS

        def read() -> None:
            seen = 0
            while time.monotonic() < end:
                before = told[0]
                number = int(cache.get("k") or b"-1")
                assert number >= max(seen, before), (number, seen, before)
                seen = number

        def write() -> None:
            number = 0
            while time.monotonic() < end:
                number += 1
                cache.put("k", b"%d" % number, 0, True)
                told[0] = number
                for other in range(number % 50):
                    cache.put(b"other%d" % other, b"1", 0, True)

        pids = [child(write), child(read), child(read)]
        assert [ended(pid) for pid in pids] == [0, 0, 0]


def dead_readers_do_not_keep_pages() -> None:
    """The pages that a killed reader looked at are used again."""
    with one("items=9") as cache:
        cache.put("a", "1" * 60_000, 0, False)
        ready, tell = os.pipe()

        def look() -> None:
            txn = cache.memory.begin()
            assert txn.get(b"a")
            os.write(tell, b"x")
            signal.pause()

        pid = child(look)
        os.read(ready, 1)
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        pages = cache.memory.size // 4096
        for number in range(pages // 15 + 200):  # as many as would fill the memory
            assert cache.put("a", b"%060000d" % number, 0, True) is True


def a_killed_writer_blocks_nobody() -> None:
    """The lock of a process that is killed inside a transaction goes to the next one, and the change has never been."""
    with one("items=9") as cache:
        cache.put("a", "before", 0, False)
        cache.memory.close_environment()
        for _ in range(20):

            def write() -> None:
                cache.put("b", "1", 0, True)
                txn = cache.memory.begin(None, None, True)
                txn.put(b"a", b"half")
                os.kill(os.getpid(), signal.SIGKILL)

            assert cache.get("a") == b"before"
            assert ended(child(write)) == -signal.SIGKILL
            assert cache.put("c", "1", 0, True) is True
            assert cache.get("a") == b"before"


def sleepers_are_woken_after_a_death() -> None:
    """Those who wait for the lock while the one that was to be next is killed."""
    with one("items=9") as cache:
        notes = memoryview(mmap.mmap(-1, 4096)).cast("Q")

        def write(number: int) -> None:
            parent = os.getppid()
            while os.getppid() == parent:
                cache.put(f"k{number}", "1", 0, True)
                notes[number] += 1

        def start(number: int) -> int:
            return child(lambda: write(number))

        pids = [start(number) for number in range(4)]
        for round in range(40):
            victim = round % 4
            time.sleep(0.002)
            os.kill(pids[victim], signal.SIGKILL)
            os.waitpid(pids[victim], 0)
            cache.memory.wake()
            before = list(notes[:4])
            deadline = time.monotonic() + 10
            for number in range(4):
                while number != victim and notes[number] == before[number]:
                    assert time.monotonic() < deadline, f"process {number} sleeps for ever"
                    time.sleep(0.0005)
            pids[victim] = start(victim)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def descriptors_do_not_pile_up() -> None:
    """Opening, closing and forking leave no descriptor behind."""

    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    with one("items=9") as cache:
        cache.put("a", "1", 0, False)
        before = opened()
        for _ in range(10):
            assert ended(child(lambda: cache.exists("a"))) == 0
            cache.exists("a")
        assert opened() == before


CASES: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        both_sides_go_on,
        grandchildren_have_it,
        readers_never_go_back,
        dead_readers_do_not_keep_pages,
        a_killed_writer_blocks_nobody,
        sleepers_are_woken_after_a_death,
        descriptors_do_not_pile_up,
    )
}

if __name__ == "__main__":
    CASES[sys.argv[1]]()
    left = [name for name in os.listdir("/dev/shm") if f".{os.getpid()}." in name]
    assert not left, left
