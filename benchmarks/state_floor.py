"""python -m benchmarks.state_floor: what cannot be avoided, alone: the least that shared state costs from Python.

For the notes of docs/benchmarks-state.md: a goal that is below the floor of its operation cannot be met without
compiled code of our own. Each value is the best of many short batches, in nanoseconds, the loop not included.
"""

from __future__ import annotations

import mmap
import tempfile
import timeit
from typing import Any

import lmdb

from uwsgi_async.state.mutex import Mutex, trylock, unlock

TIMES, BATCHES = 2000, 60

STATEMENTS = {
    "call a Python function": "function()",
    "read a word of shared memory": "words[9]",
    "write a word of shared memory": "words[9] = 5",
    "read 100 bytes of shared memory": "memory[200:300]",
    "write 100 bytes of shared memory": "memory[200:300] = value",
    "lock and unlock a robust mutex": "trylock(reference); unlock(reference)",
    "LMDB: begin, get": "begin().get(key)",
    "LMDB: begin, abort, to write": "txn = begin(None, None, True); txn.abort()",
    "LMDB: begin, put, commit": "txn = begin(None, None, True); txn.put(key, value); txn.commit()",
    "LMDB: begin, get, put, commit": "txn = begin(None, None, True); txn.get(key); txn.put(key, value); txn.commit()",
}


def function() -> None:
    pass


def measure(statement: str, names: dict[str, Any]) -> float:
    return min(timeit.repeat(statement, globals=names, number=TIMES, repeat=BATCHES)) / TIMES * 1e9


def main() -> None:
    memory = mmap.mmap(-1, 4096)
    mutex = Mutex(memory, 0)
    mutex.initialize()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        environment = lmdb.open(directory, map_size=1 << 26, sync=False, metasync=False, writemap=True, meminit=False)
        with environment.begin(write=True) as txn:
            for number in range(1000):
                txn.put(b"key%d" % number, b"v" * 108)
        names = {
            "function": function, "memory": memory, "words": memoryview(memory).cast("Q"), "value": b"v" * 100,
            "trylock": trylock, "unlock": unlock, "reference": mutex.reference, "begin": environment.begin,
            "key": b"key5",
        }  # fmt: skip
        loop = measure("pass", names)
        for name, statement in STATEMENTS.items():
            print(f"{name:<36}{measure(statement, names) - loop:7.0f} ns")
        environment.close()


if __name__ == "__main__":
    main()
