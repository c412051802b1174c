"""Signals that somebody waits for, that go to other instances, and that come by themselves."""

import json
import os

import uwsgi

RAN = os.environ["RAN"]


def note(*words):
    with open(RAN, "ab", buffering=0) as file:
        file.write(" ".join(map(str, (*words, f"worker{uwsgi.worker_id()}"))).encode() + b"\n")


def handler(number):
    note("handled", number)


uwsgi.register_signal(1, "workers", handler)
uwsgi.register_signal(2, "worker1", handler)
uwsgi.register_signal(3, "worker1", handler)
uwsgi.register_signal(4, "worker1", handler)
uwsgi.register_signal(5, "worker1", handler)
uwsgi.add_rb_timer(2, 1, 2)
uwsgi.add_rb_timer(3, 1)
uwsgi.add_file_monitor(4, RAN + ".directory")
uwsgi.add_cron(5, -1, -1, -1, -1, -1)  # due in this minute


def call(name, *words):
    if name == "wait":
        note("waits")
        waited = uwsgi.signal_wait(*words)
        return [waited.decode(), uwsgi.signal_received()]
    try:
        return [getattr(uwsgi, name)(*words)]
    except (OSError, ValueError) as error:
        return [next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"), str(error)]


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    words = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    return [json.dumps(call(*words)).encode()]
