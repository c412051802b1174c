"""The same task for every queue: it notes when it was written and when it was run, 16 bytes in a file.

Run by ``benchmarks.spooler``. In a server that has the `uwsgi` module it is the app and the spooler function; huey and
dramatiq import it as a module of their own. BENCH_QUEUE says which one writes, BENCH_LOG where the notes go, BENCH_WAIT
the seconds that a task waits, as for an answer of another server.
"""

import os
import struct
import time

QUEUE = os.environ.get("BENCH_QUEUE", "")
WAIT = float(os.environ.get("BENCH_WAIT", "0"))
LOG = os.open(os.environ["BENCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def work(written):
    if WAIT:
        time.sleep(WAIT)
    note(written)


def note(written):
    os.write(LOG, struct.pack("qq", int(written), time.monotonic_ns()))


def enqueue(write, count, pause):
    """Write so many tasks; return the seconds that it took."""
    began = time.perf_counter()
    for _ in range(count):
        write(str(time.monotonic_ns()))
        if pause:
            time.sleep(pause)
    return time.perf_counter() - began


if QUEUE == "huey":
    from huey import SqliteHuey

    huey = SqliteHuey(filename=os.environ["BENCH_STORE"])

    @huey.task()
    def noted(written):
        work(written)

elif QUEUE == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_STORE"]))

    @dramatiq.actor
    def sent(written):
        work(written)

    noted = sent.send

else:
    import uwsgi

    def spooler(task):
        work(task[b"w"])
        return uwsgi.SPOOL_OK

    async def spooler_async(task):
        await anyio.sleep(WAIT)
        note(task[b"w"])
        return uwsgi.SPOOL_OK

    uwsgi.spooler = spooler
    if WAIT and QUEUE == "async":
        import anyio

        uwsgi.spooler = spooler_async

    def noted(written):
        uwsgi.spool({b"w": written.encode()})

    def application(environ, start_response):
        count, _, pause = environ["QUERY_STRING"].partition("&")
        start_response("200 OK", [])
        return [str(enqueue(noted, int(count), float(pause))).encode()]
