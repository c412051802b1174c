"""Signals: each handler writes a line; a request raises what its body says."""

import json
import os

import uwsgi


def note(number):
    with open(os.environ["RAN"], "ab", buffering=0) as file:
        file.write(
            b"%d worker%d mule%d\n" % (number, uwsgi.worker_id(), uwsgi.mule_id() if hasattr(uwsgi, "mule_id") else 0)
        )


def fail(number):
    note(number)
    raise RuntimeError("no luck")


answers = []


def ask(name, *arguments):
    try:
        answers.append(repr(getattr(uwsgi, name)(*arguments)))
    except Exception as error:  # noqa: BLE001 - its kind is the answer
        answers.append(next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"))


TARGETS = ["", "worker", "worker0", "workers", "active-workers", "worker1", "worker2", "worker9"]
for number, target in enumerate(TARGETS, 1):
    ask("register_signal", number, target, note)
ask("register_signal", 9, "workers", fail)
ask("register_signal", 256 + 10, "worker1", note)
ask("register_signal", 1, "", note)
ask("register_signal", 11.5, "", note)
ask("register_signal", 11, b"", note)
ask("signal_registered", 1)
ask("signal_registered", 257)
ask("signal_registered", 99)
ask("add_timer", 20, 3600)
ask("add_timer", 20, 0.5)
ask("add_rb_timer", 20, 3600)
ask("add_rb_timer", 20, 3600, 2)
ask("add_cron", 20, 0, 3, -1, -1, -1)
ask("add_cron", 20, 0, 3, -1, -1)
ask("add_file_monitor", 21, os.environ["RAN"] + ".watched")
uwsgi.register_signal(21, "worker1", note)
ask("signal", 300)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    words = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    if words == "answers":
        return [json.dumps(answers).encode()]
    for number in words:
        uwsgi.signal(number)
    return [b"null"]
