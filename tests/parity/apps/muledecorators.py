"""uwsgidecorators of mules and farms: what each has decorated writes a line; a request sends what its body says."""

import json
import os
import time

import uwsgi
from uwsgidecorators import farm, mule, mulefunc, muleloop, mulemsg, postfork

RAN = os.environ["RAN"]


def note(*words):
    where = f"mule{uwsgi.mule_id()}" if uwsgi.mule_id() else f"worker{uwsgi.worker_id()}"
    with open(RAN, "ab", buffering=0) as file:
        file.write(" ".join(map(str, (*words, where))).encode() + b"\n")


@mule(1)
def begins():
    note("begins")


@muleloop(2)
def loops():
    note("loops")
    message = uwsgi.mule_get_msg()
    note("got", message.decode("latin-1")[:10])
    if message == b"fail":
        raise RuntimeError("no luck")


@mulemsg(3)
def messages(message):
    note("message", message.decode("latin-1")[:10])


@farm("web")
def farming(message):
    note("farming", message.decode("latin-1")[:10])


@mulefunc
def anywhere(*args, **kwargs):
    note("anywhere", args, kwargs)


@mulefunc(1)
def in_the_first(*args, **kwargs):
    note("first", args, kwargs)


@mulefunc(b"others")
def in_the_farm(*args, **kwargs):
    note("others", args, kwargs)


@mulefunc(1)
def fails():
    note("fails")
    raise RuntimeError("no luck")


@mulefunc(1)
def slow(seconds):
    time.sleep(seconds)


@postfork
def forked():
    note("forked")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    name, *words = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    if name == "farm_msg":
        uwsgi.farm_msg(words[0], words[1].encode())
    elif name == "mule_msg":
        uwsgi.mule_msg(words[1].encode(), words[0])
    else:
        globals()[name](*words, word="word")
    return [b"null"]
