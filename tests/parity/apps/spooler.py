"""Writes each run of a task as a line of text, and evaluates what a request asks for. Runs under both servers."""

import os
import time

import uwsgi

LOG = os.environ["SPOOL_LOG"]


def run(task):
    told = sorted((repr(key), value) for key, value in task.items())
    fd = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, repr((os.environ["SERVER"], told, os.getcwd())).encode() + b"\n")
    os.close(fd)
    while b"wait" in task and not os.path.exists(task[b"wait"]):
        time.sleep(0.01)
    result = task.get(b"result")
    if result == b"raise":
        raise LookupError("the reason")
    return eval(result.decode()) if result else uwsgi.SPOOL_OK


uwsgi.spooler = run


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        result = eval(environ["wsgi.input"].read().decode())
    except Exception as error:  # noqa: BLE001 - it is the answer
        result = (type(error).__name__, str(error))
    return [repr(result).encode()]
