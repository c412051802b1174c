"""1,000 timers of a second (64, where there may be no more): how far each has drifted when it is read."""

import json
import mmap
import struct
import time

import uwsgi

MOST = 1000
runs = mmap.mmap(-1, 1 << 16)
last = mmap.mmap(-1, 1 << 16)
EPOCH = time.monotonic()


def handler(number):
    at = 8 * number
    runs[at : at + 8] = struct.pack("q", struct.unpack("q", runs[at : at + 8])[0] + 1)
    last[at : at + 8] = struct.pack("d", time.monotonic() - EPOCH)


count = 0
for number in range(200):
    uwsgi.register_signal(number, "", handler)
try:
    for count in range(MOST):
        uwsgi.add_timer(count % 200, 1)
except ValueError:
    pass


def application(environ, start_response):
    start_response("200 OK", [])
    numbers = range(min(count, 200))
    return [
        json.dumps(
            [
                [
                    struct.unpack("q", runs[8 * each : 8 * each + 8])[0],
                    struct.unpack("d", last[8 * each : 8 * each + 8])[0],
                ]
                for each in numbers
            ]
        ).encode()
    ]
