"""Notes, in each process after its fork, what it knows of RPC, and whether it may register a function."""

import json
import os

import uwsgi
from uwsgidecorators import postfork, rpc


@rpc("decorated")
def decorated(*words):
    return b"-".join(words)


uwsgi.register_rpc("plain", decorated)


def registering(name):
    try:
        return uwsgi.register_rpc(name, lambda: b"own")
    except Exception as error:  # noqa: BLE001 - whatever it is, both servers must raise it
        return type(error).__name__


@postfork
def begin():
    who = f"worker{uwsgi.worker_id()}" if uwsgi.worker_id() else f"mule{uwsgi.mule_id()}"
    given = registering("own") if who != "worker2" else "-"
    words = [given, [name.decode() for name in uwsgi.rpc_list()], repr(uwsgi.call(b"decorated", b"a", b"b"))]
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{who} {json.dumps([*words, repr(uwsgi.call(b'own'))])}\n")


def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"[]"]
