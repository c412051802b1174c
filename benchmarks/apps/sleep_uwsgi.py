"""Wait in a core of real uWSGI, then answer.

There `uwsgi.async_sleep` only arms the core's timer, in whole seconds, and the app gives way by yielding. A shorter
wait has to be a file descriptor: a timerfd for each request that sleeps, used again by later ones.
Not by `uwsgi.suspend`: in uWSGI 2.0.31 with ugreen on Python 3.11 the worker hangs as soon as two requests do so.
"""

import ctypes
import os

import uwsgi

SECONDS = float(os.environ["BENCHMARK_SLEEP"])
BODY = b"slept\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]

CLOCK_MONOTONIC = 1
libc = ctypes.PyDLL(None)
# struct itimerspec: interval (seconds, nanoseconds), then the time to the first expiry.
EXPIRY = (ctypes.c_long * 4)(0, 0, int(SECONDS), int(SECONDS % 1 * 1e9))
timers = []


def sleep_whole_seconds(environ, start_response):
    yield uwsgi.async_sleep(SECONDS)
    start_response("200 OK", HEADERS)
    yield BODY


def sleep_by_timerfd(environ, start_response):
    timer = timers.pop() if timers else libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK)
    libc.timerfd_settime(timer, 0, EXPIRY, None)
    yield uwsgi.wait_fd_read(timer)
    timers.append(timer)
    start_response("200 OK", HEADERS)
    yield BODY


application = sleep_whole_seconds if SECONDS >= 1 else sleep_by_timerfd
