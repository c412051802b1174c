"""The program of a mule: it does what its messages say."""

import json
import os

import uwsgi


def note(kind, message):
    with open(os.environ["RAN"], "ab", buffering=0) as file:
        file.write(f"{kind} mule{uwsgi.mule_id()} worker{uwsgi.worker_id()} {message!r}\n".encode())


def program():
    note("program", "begins")
    while True:
        message = uwsgi.mule_get_msg()
        if message == b"end":
            return
        if message.startswith(b"get "):
            note("asks", None)
            note("got", uwsgi.mule_get_msg(**json.loads(message[4:])))
        else:
            note("program", message)
