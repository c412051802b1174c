"""An unchanged uWSGI app: it waits a second, and other requests are handled meanwhile.

uwsgi-async --http-socket 127.0.0.1:8000 --async 100 --wsgi-file examples/hello_sync.py
"""

import uwsgi


def application(environ, start_response):
    uwsgi.async_sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]
