"""Says what a request is, for whoever hands one on; raises the alarms that a request's body names."""

import json
import os

import uwsgi


def handle(number):
    with open(os.environ["RAN"], "a") as file:
        file.write(f"signal {number}\n")


if os.environ.get("RAN"):
    uwsgi.register_signal(17, "worker", handle)


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/alarm":
        for name, message in json.loads(body):
            uwsgi.alarm(name, message)
    keys = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_X_SENT", "CONTENT_LENGTH")
    answer = json.dumps([[environ.get(key) for key in keys], len(body), sum(body)]).encode()
    start_response("201 Created", [("X-Seen", "yes"), ("Content-Length", str(len(answer)))])
    return [answer]
