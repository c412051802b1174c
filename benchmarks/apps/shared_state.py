"""Times uWSGI's functions of shared state while it is imported, by real uWSGI or by uwsgi-async, and ends the server.

For benchmarks/state_shared.py. One process, and then two that do the same at the same time. Each line of the answer is
"BENCH name microseconds microseconds": of one operation, in the middle of many short rounds, so that other programs of
the machine do not count for much.
"""

import mmap
import os
import sys
import time

import uwsgi

MESSAGE = b"x" * 100
ROUNDS, TIMES = 101, 500


def push_and_pull():
    uwsgi.queue_push(MESSAGE)
    uwsgi.queue_pull()


def lock_and_unlock():
    uwsgi.lock(1)
    uwsgi.unlock(1)


OPERATIONS = {
    "queue_push": lambda: uwsgi.queue_push(MESSAGE),
    "queue_push + queue_pull": push_and_pull,
    "queue_get": lambda: uwsgi.queue_get(5),
    "queue_set": lambda: uwsgi.queue_set(5, MESSAGE),
    "queue_last(3)": lambda: uwsgi.queue_last(3),
    "sharedarea_read, 100 bytes": lambda: uwsgi.sharedarea_read(0, 0, 100),
    "sharedarea_write, 100 bytes": lambda: uwsgi.sharedarea_write(0, 0, MESSAGE),
    "sharedarea_read64": lambda: uwsgi.sharedarea_read64(0, 128),
    "sharedarea_write64": lambda: uwsgi.sharedarea_write64(0, 128, 5),
    "sharedarea_inc64": lambda: uwsgi.sharedarea_inc64(0, 128),
    "metric_get": lambda: uwsgi.metric_get("hits"),
    "metric_inc": lambda: uwsgi.metric_inc("hits"),
    "is_locked": lambda: uwsgi.is_locked(1),
    "lock + unlock": lock_and_unlock,
}


def measure(operation, clock):
    rounds = []
    for _ in range(ROUNDS):
        began = clock()
        for _ in range(TIMES):
            operation()
        rounds.append(clock() - began)
    return sorted(rounds)[ROUNDS // 2] / TIMES * 1e6


def measure_two(operation):
    """The same while another process does it, too; wall-clock time.

    The other one is not killed: real uWSGI's queue and areas are blocked for ever by a death in the middle.
    """
    shared = mmap.mmap(-1, 4096)
    child = os.fork()
    if child == 0:
        shared[0] = 1
        while not shared[1]:
            operation()
        os._exit(0)
    try:
        while not shared[0]:
            pass
        return measure(operation, time.perf_counter)
    finally:
        shared[1] = 1
        os.waitpid(child, 0)


for name, operation in OPERATIONS.items():
    one = measure(operation, time.process_time)
    print("BENCH", name, f"{one:.3f} {measure_two(operation):.3f}", sep="\t")
sys.stdout.flush()
os._exit(0)
