"""Mules: a hook that writes who has got which message, and requests that send and ask as their bodies say."""

import json
import os

import uwsgi


def note(kind, message):
    with open(os.environ["RAN"], "ab", buffering=0) as file:
        file.write(f"{kind} mule{uwsgi.mule_id()} worker{uwsgi.worker_id()} {message!r}\n".encode())


def ask(name, *arguments, **keywords):
    try:
        return repr(getattr(uwsgi, name)(*arguments, **keywords))
    except Exception as error:  # noqa: BLE001 - its kind is the answer
        return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")


def hook(message):
    if message == b"fail":
        raise RuntimeError("no luck")
    if message == b"where":
        message = ask("in_farm"), ask("in_farm", "web"), ask("in_farm", "no"), ask("mule_id"), ask("worker_id")
    note("hook", message)


uwsgi.mule_msg_hook = hook


def handler(number):
    note("signal", number)


for number, target in enumerate(("mule1", "mules", "mule2", "farm_web", "mule9"), 1):
    uwsgi.register_signal(number, target, handler)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    words = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    call, *arguments = [
        word[2:].encode() if isinstance(word, str) and word.startswith("b:") else word for word in words
    ]
    if call == "long":
        return [json.dumps(ask("mule_msg", bytes(arguments[0]), *arguments[1:])).encode()]
    if call == "fill":
        count = 0
        while count < 100_000 and uwsgi.mule_msg(b"x" * 100, 3):
            count += 1
        return [json.dumps([0 < count < 100_000, uwsgi.mule_msg(b"y" * 100, 3)]).encode()]
    return [json.dumps(ask(call, *arguments)).encode()]
