"""The smallest async app. Serve it with `make run`, or:

uwsgi-async --http-socket 127.0.0.1:8000 --async 100 --wsgi-file examples/hello.py
"""


async def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]
