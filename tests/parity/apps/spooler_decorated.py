"""Functions with uWSGI's decorators, which write what they got as a line of text. Runs under both servers."""

import os

import uwsgi
from uwsgidecorators import spool, spoolforever, spoolraw


def note(*what):
    fd = os.open(os.environ["SPOOL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, repr((os.environ["SERVER"], *what)).encode() + b"\n")
    os.close(fd)


@spool
def plain(arguments):
    note("plain", {key: value for key, value in arguments.items() if key not in ("spooler_task_name", "spooler")})


@spool(pass_arguments=True)
def pickled(*args, **kwargs):
    note("pickled", args, kwargs)


@spoolforever
def forever(arguments):
    note("forever", arguments["n"])


@spoolraw
def raw(arguments):
    note("raw", arguments["n"])
    return uwsgi.SPOOL_OK


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(eval(environ["wsgi.input"].read().decode())).encode()]
