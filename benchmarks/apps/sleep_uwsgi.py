"""Wait in a core of real uWSGI, then answer.

There `uwsgi.async_sleep` only arms the core's timer, in whole seconds, and `uwsgi.suspend` waits for it. A shorter
wait has to be a file descriptor: a timerfd for each request that sleeps, used again by later ones.
"""

import ctypes
import os

import uwsgi

SECONDS = float(os.environ["BENCHMARK_SLEEP"])
BODY = b"slept\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]

CLOCK_MONOTONIC = 1
libc = ctypes.CDLL(None, use_errno=True)
# struct itimerspec: interval (seconds, nanoseconds), then the time to the first expiry.
EXPIRY = (ctypes.c_long * 4)(0, 0, int(SECONDS), int(SECONDS % 1 * 1e9))
timers = []


def sleep_whole_seconds():
    uwsgi.async_sleep(SECONDS)
    uwsgi.suspend()


def sleep_by_timerfd():
    timer = timers.pop() if timers else libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK)
    libc.timerfd_settime(timer, 0, EXPIRY, None)
    uwsgi.wait_fd_read(timer)
    uwsgi.suspend()
    timers.append(timer)


sleep = sleep_whole_seconds if SECONDS >= 1 else sleep_by_timerfd


def application(environ, start_response):
    sleep()
    start_response("200 OK", HEADERS)
    return [BODY]
