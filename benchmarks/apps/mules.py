"""Sends as many messages to a mule as the path says; the answer is the seconds until the last one was handled."""

import os
import time

import uwsgi

ANSWERS = os.environ["ANSWERS"]


def handle(message):
    if message.startswith(b"end "):
        with open(os.path.join(ANSWERS, message[4:].decode()), "w") as file:
            file.write(repr(time.monotonic()))


uwsgi.mule_msg_hook = handle


def application(environ, start_response):
    mule, count, name = environ["PATH_INFO"].strip("/").split("/")
    mule, path = int(mule), os.path.join(ANSWERS, name)
    begun = time.monotonic()
    for message in [b"x" * 100] * int(count) + [b"end " + name.encode()]:
        while not uwsgi.mule_msg(message, mule):
            time.sleep(0.0001)
    answer = ""
    while not answer:
        time.sleep(0.0005)
        if os.path.exists(path):
            with open(path) as file:
                answer = file.read()
    start_response("200 OK", [])
    return [repr(float(answer) - begun).encode()]
