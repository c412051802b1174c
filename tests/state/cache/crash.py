"""Kill processes in the middle of what they do to a cache, and see that nothing is lost and nobody is blocked.

``python -m tests.state.cache.crash --kills 500 --spec items=200,blocksize=64`` runs four processes that change one
cache at random as fast as they can. One after the other is killed with SIGKILL, at any point, and started again. What
must be true, always:

- A write that was acknowledged is there: each process writes rising numbers to a key of its own and notes each one
  when the call has returned. After its death the key has the last noted number, or the one after it.
- A count that all share is the sum of what was noted, and one more for each that was killed, at most.
- Every value is whole: it begins with its own checksum.
- The others go on: each of them notes something within the patience after every kill.
- At the end the cache's own bookkeeping agrees with what is in it.

Prints one line, and exits with 0 when all of it held.
"""

from __future__ import annotations

import argparse
import mmap
import operator
import os
import random
import signal
import struct
import sys
import time
import zlib

from uwsgi_async.options.build import build
from uwsgi_async.state.cache.caches import Caches
from uwsgi_async.state.cache.local import LocalCache

NAME = "crash"
PROCESSES = 4
PATIENCE = 20.0  # seconds
LONGEST_LIFE = 0.02  # seconds between two kills, at most
WRITTEN, COUNTED, OPERATIONS = range(3)  # what each process notes
_NOTES = 4

_CHECKSUM = struct.Struct("<I")


def value_of(text: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(text)) + text


def is_whole(value: bytes) -> bool:
    return _CHECKSUM.unpack_from(value)[0] == zlib.crc32(value[_CHECKSUM.size :])


def work(cache: LocalCache, number: int, notes: memoryview, seed: float) -> None:
    """Change the cache for ever. ``notes``: this process's part of the shared memory."""
    chance = random.Random(seed)
    largest = min(cache.spec.largest_value, 9000) - _CHECKSUM.size
    own = b"own%d" % number
    parent = os.getppid()
    while os.getppid() == parent:
        done = notes[OPERATIONS]
        if done % 3 == 0:
            following = notes[WRITTEN] + 1
            if cache.put(own, b"%20d" % following, 0, True):
                notes[WRITTEN] = following
        elif done % 3 == 1:
            if cache.calculate("count", operator.add, 1, 0):
                notes[COUNTED] += 1
        else:
            mix(cache, chance, largest)
        notes[OPERATIONS] = done + 1


def mix(cache: LocalCache, chance: random.Random, largest: int) -> None:
    key = b"key%d" % chance.randrange(2 * cache.spec.items)
    kind = chance.randrange(10)
    if kind < 5:
        value = value_of(bytes((chance.randrange(256),)) * chance.randrange(largest + 1))
        cache.put(key, value, chance.choice((0, 0, 1, 100)), kind < 4)
    elif kind < 8:
        value = cache.get(key)
        assert value is None or is_whole(value), (key, value)
    elif kind == 8:
        cache.delete(key)
    else:
        cache.exists(key)


class Run:
    """One run: the cache, the processes, and what they note."""

    def __init__(self, caches: Caches, seed: int) -> None:
        self.caches = caches
        self.cache = caches.by_name[NAME]
        self.chance = random.Random(seed)
        self.notes = memoryview(mmap.mmap(-1, 4096)).cast("Q")
        self.pids = [0] * PROCESSES
        self.kills = 0
        for number in range(PROCESSES):
            self.start(number)

    def start(self, number: int) -> None:
        seed = self.chance.random()
        pid = os.fork()
        if pid:
            self.pids[number] = pid
            return
        status = 1
        try:
            work(self.cache, number, self.noted(number), seed)
        except BaseException as error:  # noqa: BLE001 - told, and told to the parent by the status
            print(f"process {number}: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    def noted(self, number: int) -> memoryview:
        return self.notes[number * _NOTES : (number + 1) * _NOTES]

    def kill(self) -> None:
        """Kill a process at a random moment, look at what it leaves, and start it again."""
        number = self.chance.randrange(PROCESSES)
        time.sleep(self.chance.random() * LONGEST_LIFE)
        os.kill(self.pids[number], signal.SIGKILL)
        _, status = os.waitpid(self.pids[number], 0)
        assert os.WIFSIGNALED(status), "a process has ended by itself"
        self.kills += 1
        self.caches.mend()  # as a master does when a child dies
        self.others_go_on(number)
        self.check_own(number)
        self.start(number)

    def others_go_on(self, killed: int) -> None:
        before = [self.noted(number)[OPERATIONS] for number in range(PROCESSES)]
        deadline = time.monotonic() + PATIENCE
        for number in range(PROCESSES):
            while number != killed and self.noted(number)[OPERATIONS] == before[number]:
                assert time.monotonic() < deadline, f"process {number} is blocked"
                time.sleep(0.0005)

    def check_own(self, number: int) -> None:
        """What the dead process had acknowledged is there; its last call may or may not have happened."""
        notes = self.noted(number)
        found = self.cache.get(b"own%d" % number)
        written = notes[WRITTEN]
        if found is None and self.cache.spec.purge_lru:
            return  # dropped, because others are used more
        assert found is not None or written == 0, f"the number {written} is lost"
        there = int(found or b"0")
        assert there in (written, written + 1), f"{written} was acknowledged, {there} is there"
        notes[WRITTEN] = there

    def finish(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.kills += PROCESSES
        for number in range(PROCESSES):
            self.check_own(number)
        counted = sum(self.noted(number)[COUNTED] for number in range(PROCESSES))
        there = self.cache.num("count")
        assert self.cache.spec.purge_lru or counted <= there <= counted + self.kills, (
            f"{counted} were counted, {there} are there"
        )
        self.check_bookkeeping()

    def check_bookkeeping(self) -> None:
        cache = self.cache
        keys = cache.keys()
        assert len(set(keys)) == len(keys) == cache.count() <= cache.spec.limit
        values = {key: cache.get(key) for key in keys}
        for key, value in values.items():
            assert value is not None, key
            assert not key.startswith(b"key") or is_whole(value), key
        blocks = cache.writer.blocks
        if blocks is not None:
            cache.put("last", "1", 0, True)  # who comes behind a killed one puts the blocks in order
            kept = {key: cache.get(key) for key in list(cache.keys())}
            size = cache.spec.blocksize
            need = [-(-len(value or b"") // size) if cache.spec.bitmap else 1 for value in kept.values()]
            assert sum(blocks.taken) == sum(need), "blocks are lost, or shared"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--spec", default="items=200,blocksize=4096")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    caches = Caches.create(build(cache2=f"name={NAME},{words.spec}").cache)
    assert caches is not None
    run = Run(caches, words.seed)
    while run.kills < words.kills:
        run.kill()
    run.finish()
    caches.close()
    operations = sum(run.noted(number)[OPERATIONS] for number in range(PROCESSES))
    print(f"{run.kills} kills in {operations} rounds: nothing was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
