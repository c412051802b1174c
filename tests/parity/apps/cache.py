"""Runs the operations that a client sends, and tells what each returned: the same file under both servers.

A request's body is a JSON list of [name, arguments]; bytes are told as text of the same code points.
"""

import json

import uwsgi


def told(value):
    if isinstance(value, bytes):
        return ["bytes", value.decode("latin-1")]
    if isinstance(value, list):
        return sorted(map(told, value))
    return value


def run(name, arguments):
    try:
        return told(getattr(uwsgi, name)(*arguments))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return ["raised", type(error).__name__]


def application(environ, start_response):
    operations = json.loads(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([run(name, arguments) for name, arguments in operations]).encode()]
