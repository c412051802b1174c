"""One app for both servers: what the functions of workers, process control and logging return."""

import json

import uwsgi

READY_AT_IMPORT = uwsgi.ready()
CALLS = [
    ("accepting",), ("accepting", 0), ("accepting", 1), ("accepting", 7), ("accepting", "x"), ("accepting", 1.5),
    ("worker_id",), ("worker_id", 1), ("total_requests",), ("request_id",), ("ready",), ("ready", 1, 2),
    ("set_user_harakiri", 0), ("set_user_harakiri", 1.5), ("set_user_harakiri",), ("set_user_harakiri", 1, 2),
    ("setprocname", "a name"), ("setprocname",), ("setprocname", b"x"), ("setprocname", None),
    ("listen_queue",), ("listen_queue", 0), ("listen_queue", 1), ("listen_queue", 2), ("listen_queue", -1),
    ("listen_queue", "a"), ("listen_queue", 0, 0),
    ("set_warning_message", "told"), ("set_warning_message", b"x"), ("set_warning_message",),
    ("log", "a line"), ("log", 1), ("log",), ("log", "x", "y"),
    ("extract", "/etc/hostname"), ("extract", "exec://echo hi"), ("extract", "/dev/null"), ("extract", b"x"),
    ("extract",), ("extract", "callint://getpagesize"),
    ("embedded_data", "nothing"), ("embedded_data", b"x"), ("embedded_data",),
    ("is_a_reload",),
]  # fmt: skip
TYPES = [("masterpid",), ("mem",), ("mem", 1), ("logsize",), ("micros",), ("micros", 1)]


def attempt(name, *args):
    try:
        return getattr(uwsgi, name)(*args)
    except Exception as error:  # noqa: BLE001 - the error is the answer
        bases = [base.__name__ for base in type(error).__mro__]
        known = ("TypeError", "SystemError", "OSError", "ValueError", "AttributeError")
        return ["raises", next((kind for kind in known if kind in bases), bases[0])]


def plain(value):
    """A value as JSON has it, with its type."""
    if isinstance(value, bytes):
        return ["bytes", value.decode("latin-1")]
    if isinstance(value, tuple):
        return ["tuple", [type(item).__name__ for item in value]]
    return [type(value).__name__, value]


def results():
    found = {repr(call): plain(attempt(*call)) for call in CALLS}
    found.update((repr(call), plain(attempt(*call))[0]) for call in TYPES)
    found["ready at import"] = plain(READY_AT_IMPORT)
    found["has a master"] = uwsgi.masterpid() > 0
    found["the log has a size"] = uwsgi.logsize() > 0
    found["globals"] = {name: plain(getattr(uwsgi, name, "missing")) for name in ("numproc", "is_a_reload", "unbit")}
    found["mode"] = plain(getattr(uwsgi, "mode", "missing"))
    found["pidfile"] = plain(getattr(uwsgi, "pidfile", "missing"))
    found["workers"] = sorted(uwsgi.workers()[0])
    return found


def hook():
    print("hook of request", uwsgi.request_id(), flush=True)


def forked():
    print("forked into worker", uwsgi.worker_id(), flush=True)


uwsgi.after_req_hook = hook
uwsgi.post_fork_hook = forked


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/disconnect":
        start_response("200 OK", [])
        uwsgi.disconnect()
        print("goes on after the end", flush=True)
        return [b"lost"]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(results()).encode()]
