"""Runs the operations that a client sends, and tells what each returned: the same file under both servers.

A request's body is a JSON list of [name, arguments]; bytes are told as text of the same code points.
"""

import json

import uwsgi


def told(value):
    if isinstance(value, (bytes, memoryview)):
        return ["bytes", bytes(value).decode("latin-1")]
    if isinstance(value, list):
        return [told(item) for item in value]
    return value


def argument(value):
    return value["bytes"].encode("latin-1") if isinstance(value, dict) else value


def run(name, arguments):
    try:
        function = getattr(uwsgi, name)
        return told(function(*map(argument, arguments)) if callable(function) else function)
    except Exception as error:  # noqa: BLE001 - the error is the answer
        return ["raised", type(error).__name__]


def application(environ, start_response):
    operations = json.loads(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([run(name, arguments) for name, arguments in operations]).encode()]
