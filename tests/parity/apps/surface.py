"""One app for both servers: each path shows one behaviour. Runs unchanged under uWSGI and uwsgi-async."""

import io
import json
import os
import tempfile

import uwsgi

_FILE = tempfile.NamedTemporaryFile()  # noqa: SIM115 - lives as long as the app
_FILE.write(b"file content\n" * 100)
_FILE.flush()


def shape(value):
    """A value in a form that can be compared: its type, and itself where it does not depend on the server."""
    if isinstance(value, (str, int, bool, type(None))):
        return [type(value).__name__, value]
    if isinstance(value, bytes):
        return ["bytes", value.decode("latin-1")]
    if isinstance(value, tuple):
        return ["tuple", [shape(item) for item in value]]
    return [type(value).__name__ if callable(value) is False else "callable", None]


def show(start_response, value, status="200 OK"):
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(value, sort_keys=True).encode()]


def attempt(function, *args):
    """What a call gives: its result or the name of the error's type."""
    try:
        return shape(function(*args))
    except Exception as error:  # noqa: BLE001 - the error is the answer
        bases = [base.__name__ for base in type(error).__mro__]
        known = ("TypeError", "SystemError", "OSError", "ValueError", "AttributeError")
        return ["raises", next((name for name in known if name in bases), bases[0])]


def environ(env, start_response):
    return show(start_response, {key: shape(value) for key, value in env.items()})


def read_all(env, start_response):
    return show(start_response, env["wsgi.input"].read().decode("latin-1"))


def read_parts(env, start_response):
    body = env["wsgi.input"]
    return show(
        start_response, [body.read(3).decode(), body.read(2).decode(), body.read().decode(), body.read().decode()]
    )


def read_lines(env, start_response):
    body = env["wsgi.input"]
    return show(start_response, [body.readline().decode(), [line.decode() for line in body.readlines()]])


def iterate(env, start_response):
    return show(start_response, [line.decode() for line in env["wsgi.input"]])


def read_size(env, start_response):
    return show(start_response, len(env["wsgi.input"].read()))


def unread(env, start_response):
    return show(start_response, "unread")


def status(env, start_response):
    return show(start_response, "x", env["QUERY_STRING"].replace("+", " "))


def headers(env, start_response):
    start_response("200 OK", [("X-A", "1"), ("x-b", "2"), ("X-A", "3"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [b"headers"]


def write(env, start_response):
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    send(b"written ")
    return [b"returned"]


def twice(env, start_response):
    start_response("200 OK", [("X-First", "1")])
    start_response("201 Created", [("X-Second", "2")])
    return [b"twice"]


def after_head(env, start_response):
    send = start_response("200 OK", [])
    send(b"sent ")
    return [json.dumps(attempt(start_response, "500 Late", [])).encode()]


def shapes(env, start_response):
    tries = [
        attempt(start_response, b"200 OK", []),
        attempt(start_response, "200 OK", ()),
        attempt(start_response, "200 OK", [["a", "b"]]),
        attempt(start_response, "200 OK", [("a", 1)]),
    ]
    return show(start_response, tries)


def generator(env, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one "
    yield b""
    yield b"two"


def late_start(env, start_response):
    yield b""
    start_response("200 OK", [("X-Late", "1")])
    yield b"late"


def items(env, start_response):
    start_response("200 OK", [])
    return [b"a", None, "text", 7, b"b"]


def a_tuple(env, start_response):
    start_response("200 OK", [])
    return (b"x", b"y")


def bare(env, start_response):
    start_response("200 OK", [])
    return b"bare bytes"


def empty(env, start_response):
    start_response("200 OK", [])
    return []


def wrapped(env, start_response):
    start_response("200 OK", [])
    return env["wsgi.file_wrapper"](open(_FILE.name, "rb"), 4096)


def wrapped_memory(env, start_response):
    start_response("200 OK", [])
    return env["wsgi.file_wrapper"](io.BytesIO(b"in memory"), 4)


def send_file(env, start_response):
    start_response("200 OK", [])
    uwsgi.sendfile(_FILE.name)
    return []


def error(env, start_response):
    raise RuntimeError("the app's error")


def information(env, start_response):
    names = [
        "version",
        "version_info",
        "numproc",
        "buffer_size",
        "cores",
        "hostname",
        "unbit",
        "is_a_reload",
        "applications",
    ]
    return show(start_response, {name: shape(getattr(uwsgi, name)) for name in names})


def kinds(env, start_response):
    return show(
        start_response,
        {
            "started_on": type(uwsgi.started_on).__name__,
            "opt": sorted({type(key).__name__ for key in uwsgi.opt}),
            "magic": sorted({(type(k).__name__, type(v).__name__) for k, v in uwsgi.magic_table.items()}),
            "sockets": [type(fd).__name__ for fd in uwsgi.sockets],
            "micros": uwsgi.micros() > 1_600_000_000_000_000,
            "mem": [type(size).__name__ for size in uwsgi.mem()],
            "fd": type(uwsgi.connection_fd()).__name__,
        },
    )


def workers(env, start_response):
    def types(found):
        return {key: type(value).__name__ for key, value in found.items()}

    return show(
        start_response,
        [
            [types(worker), [types(app) for app in worker["apps"]], worker["id"], worker["status"].decode()]
            for worker in uwsgi.workers()
        ],
    )


def calls(env, start_response):
    env["wsgi.input"].read()  # uWSGI resets a connection with unread bytes
    return show(
        start_response,
        {
            "worker_id": attempt(uwsgi.worker_id),
            "cl": attempt(uwsgi.cl),
            "log": attempt(uwsgi.log, "a line"),
            "set_logvar": attempt(uwsgi.set_logvar, "a", "1"),
            "get_logvar": attempt(uwsgi.get_logvar, "a"),
            "get_logvar bytes": attempt(uwsgi.get_logvar, b"a"),
            "get_logvar missing": attempt(uwsgi.get_logvar, "nothing"),
            "get_logvar int": attempt(uwsgi.get_logvar, 1),
            "add_var": attempt(uwsgi.add_var, "K", "V"),
            "parsefile missing": attempt(uwsgi.parsefile, "/nowhere"),
            "log_this_request": attempt(uwsgi.log_this_request),
        },
    )


def yield_sleep(env, start_response):
    start_response("200 OK", [])
    yield uwsgi.async_sleep(1)
    yield b"slept"


def yield_read(env, start_response):
    reader, writer = os.pipe()
    os.write(writer, b"x")
    yield uwsgi.wait_fd_read(reader, 5)
    start_response("200 OK", [])
    ready = env["uwsgi.ready_fd"] == reader
    yield json.dumps([ready, env["x-wsgiorg.fdevent.timeout"]]).encode()
    os.close(reader)
    os.close(writer)


def yield_timeout(env, start_response):
    reader, writer = os.pipe()
    yield uwsgi.wait_fd_read(reader, 1)
    start_response("200 OK", [])
    yield json.dumps([env["uwsgi.ready_fd"], uwsgi.ready_fd(), env["x-wsgiorg.fdevent.timeout"]]).encode()
    os.close(reader)
    os.close(writer)


def suspend_read(env, start_response):
    reader, writer = os.pipe()
    os.write(writer, b"x")
    results = [attempt(uwsgi.wait_fd_read, reader, 5), attempt(uwsgi.suspend), uwsgi.ready_fd() == reader]
    os.close(reader)
    os.close(writer)
    return show(start_response, results)


def suspend_write(env, start_response):
    reader, writer = os.pipe()
    results = [attempt(uwsgi.wait_fd_write, writer, 5), attempt(uwsgi.suspend), uwsgi.ready_fd() == writer]
    os.close(reader)
    os.close(writer)
    return show(start_response, results)


def suspend_timeout(env, start_response):
    reader, writer = os.pipe()
    results = [attempt(uwsgi.wait_fd_read, reader, 1), attempt(uwsgi.suspend), uwsgi.ready_fd()]
    os.close(reader)
    os.close(writer)
    return show(start_response, results)


def suspend_alone(env, start_response):
    return show(start_response, [attempt(uwsgi.suspend), attempt(uwsgi.green_schedule)])


def wait_errors(env, start_response):
    return show(
        start_response,
        [
            attempt(uwsgi.wait_fd_read, "x"),
            attempt(uwsgi.wait_fd_read),
        ],
    )


def connect_refused(env, start_response):
    return show(start_response, attempt(uwsgi.async_connect, "/nowhere/at/all"))


def application(env, start_response):
    handler = globals().get(env["PATH_INFO"].split("/")[1], environ)
    return handler(env, start_response)
