"""Functions that other instances call by name, and a request that calls one. Serve it, and ask it:

    uwsgi-async --http-socket 127.0.0.1:8000 --socket /tmp/rpc.sock --wsgi-file examples/rpc.py
    curl http://127.0.0.1:8000/hello

With NODE=/tmp/rpc.sock in the environment a second instance calls the functions of the first one.
"""

import os

import uwsgi_async
from uwsgi_async.decorators import rpc


@rpc("shout")
def shout(text):
    return text.upper() + b"!"


@rpc("slowly")
async def slowly(text):
    await uwsgi_async.async_sleep(0.1)  # other calls and requests go on
    return b" ".join(text[at : at + 1] for at in range(len(text)))


async def application(environ, start_response):
    node = os.environ.get("NODE")  # None: this instance
    text = await uwsgi_async.rpc(node, "shout", environ["PATH_INFO"].strip("/") or "nothing")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [await uwsgi_async.rpc(node, "slowly", text), b"\n"]
