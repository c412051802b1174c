"""One app for both servers: reads the chunks of its requests, and says what each call gave."""

import json

import uwsgi


def shown(function, *args):
    try:
        value = function(*args)
    except OSError as error:
        return ["OSError", isinstance(error, OSError)]
    return None if value is None else value.decode("latin-1")


def read_all(env):
    got = []
    while True:
        chunk = shown(uwsgi.chunked_read)
        got.append(chunk)
        if not chunk or isinstance(chunk, list):
            return [*got, shown(uwsgi.chunked_read), shown(uwsgi.chunked_read_nb)]


def read_with_timeout(env):
    return [shown(uwsgi.chunked_read, 1), shown(uwsgi.chunked_read, 1), shown(uwsgi.chunked_read, 1)]


def look(env):
    """What is there at once: the whole first chunk, and of the second a part."""
    return [shown(uwsgi.chunked_read), shown(uwsgi.chunked_read_nb), shown(uwsgi.chunked_read_nb)]


def wrong_arguments(env):
    got = []
    for args in (("1",), (1, 2)):
        try:
            uwsgi.chunked_read(*args)
        except TypeError:
            got.append("TypeError")
    return got


def application(env, start_response):
    value = globals()[env["PATH_INFO"].strip("/")](env)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]
