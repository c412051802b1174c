"""Wait, then answer: in uWSGI's and our cores with `uwsgi.async_sleep`, elsewhere with `time.sleep`.

gunicorn's gevent worker has replaced `time.sleep` by gevent's; in granian it blocks one of its threads.
"""

import os

try:
    from uwsgi import async_sleep as sleep
except ImportError:
    from time import sleep

SECONDS = float(os.environ["BENCHMARK_SLEEP"])
BODY = b"slept\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def application(environ, start_response):
    sleep(SECONDS)
    start_response("200 OK", HEADERS)
    return [BODY]
