"""Work that need not be done before the answer: plain and async tasks, one that is tried again, and one given up.

uwsgi-async --http-socket 127.0.0.1:8000 --wsgi-file examples/tasks.py --spooler /tmp/tasks --spooler-cores 10 \
    --spooler-retries 2 --spooler-retry-delay 5

    curl '127.0.0.1:8000/welcome?ann'       # is there before the task is run
    curl '127.0.0.1:8000/thumbnails?cat'
    curl '127.0.0.1:8000/charge?ann'        # fails at first, is tried again, and succeeds
    curl '127.0.0.1:8000/import?nonsense'   # fails each time, and goes to the dead letters with its traceback

    uwsgi-async spool schedule /tmp/tasks   # what is tried again, and when
    uwsgi-async spool show /tmp/tasks/dead-letter
    uwsgi-async spool retry /tmp/tasks      # put the dead letters back
"""

import time
from collections import Counter

import anyio
from uwsgidecorators import spool

WIDTHS = (100, 200, 400)
attempts = Counter()


@spool
def welcome(task):
    time.sleep(0.01)  # plain code may block: it runs in the spooler's own process
    print(f"sent a welcome to {task['to']}", flush=True)


@spool(pass_arguments=True)
async def thumbnail(picture, *, width):
    await anyio.sleep(0.01)  # meanwhile other tasks run: --spooler-cores
    print(f"made {picture}, {width} wide", flush=True)


@spool
def charge(task):
    attempts[task["who"]] += 1
    if attempts[task["who"]] < 2:
        raise ConnectionError("the bank does not answer")
    print(f"charged {task['who']}", flush=True)


@spool
def import_number(task):
    print(f"imported {int(task['number'])}", flush=True)


async def application(environ, start_response):
    what, name = environ["PATH_INFO"], environ["QUERY_STRING"]
    if what == "/welcome":
        welcome(to=name)
    elif what == "/thumbnails":
        for width in WIDTHS:
            await thumbnail(name, width=width, priority=width)  # the smallest first
    elif what == "/charge":
        charge(who=name, spooler_unique=f"charge {name}")  # asked for twice it is still one task
    elif what == "/import":
        import_number(number=name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"welcome, thumbnails, charge or import\n" if what == "/" else b"it will be done\n"]
