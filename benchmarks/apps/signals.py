"""Signals from worker 1 to worker 2, or to any: a request raises them, the last handler writes down when it ran.

Real uWSGI loses signals when its queue is full, so they are raised in bursts that fit, and the next burst begins when
the last one has been handled.
"""

import mmap
import struct
import time

import uwsgi

BURST = 100
pause = uwsgi.async_sleep if uwsgi.loop else time.sleep  # a worker of one event loop is to give way to its signals
TO_ONE, TO_ANY = 1, 2

done = mmap.mmap(-1, 4096)  # shared by all workers: how many each has handled


def handler(number):
    at = 8 * uwsgi.worker_id()
    done[at : at + 8] = struct.pack("q", struct.unpack("q", done[at : at + 8])[0] + 1)


uwsgi.register_signal(TO_ONE, "worker2", handler)
uwsgi.register_signal(TO_ANY, "", handler)


def handled():
    return sum(struct.unpack("3q", done[:24]))


def application(environ, start_response):
    start_response("200 OK", [])
    _, number, count = environ["PATH_INFO"].split("/")
    if uwsgi.worker_id() == 2 and int(number) == TO_ONE:
        return [b"2 1"]
    begun, raised = time.perf_counter(), handled()
    for _ in range(int(count) // BURST):
        for _ in range(BURST):
            uwsgi.signal(int(number))
        raised += BURST
        while handled() < raised:
            pause(0.0001)
    return [b"%d %.6f" % (uwsgi.worker_id(), time.perf_counter() - begun)]
