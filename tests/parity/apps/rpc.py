"""Registers functions for RPC, and calls what a request names: a list of (name, arguments) as Python writes it."""

import ast

import uwsgi


def join(*words):
    return b"+".join(words)


def big(size):
    return b"x" * int(size)


def fail(*words):
    raise ValueError("as it was told")


def count(*words):
    return str(len(words)).encode()


registered = [
    uwsgi.register_rpc("join", join),
    uwsgi.register_rpc("big", big, 1),
    uwsgi.register_rpc("fail", fail),
    uwsgi.register_rpc("count", count, 300),
    uwsgi.register_rpc("none", lambda *words: None),
    uwsgi.register_rpc("empty", lambda *words: b""),
    uwsgi.register_rpc("text", lambda *words: "text"),
    uwsgi.register_rpc("array", lambda *words: bytearray(b"array")),
    uwsgi.register_rpc("join", join),
]


def tell(name, arguments):
    try:
        if name == "registered":
            return repr(registered)
        result = getattr(uwsgi, name)(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, both servers must raise it
        return type(error).__name__
    if isinstance(result, bytes) and len(result) > 1000:
        return f"{len(result)} bytes, {set(result)!r}"
    return repr(result)


def application(environ, start_response):
    asked = ast.literal_eval(environ["wsgi.input"].read().decode())
    answer = repr([tell(name, arguments) for name, arguments in asked]).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
