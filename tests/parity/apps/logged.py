"""What a request may be that an option logs in any case, and what an app may say. Both servers run it."""

import logging
import sys
import time

import uwsgi

print("import: printed")
logging.getLogger("shop").warning("import: logged")


def application(environ, start_response):
    kind, _, rest = environ["PATH_INFO"].strip("/").partition("/")
    status, body = "200 OK", b"x" * 50
    if kind == "status":
        status = f"{rest} Thing"
    elif kind == "empty":
        body = b""
    elif kind == "big":
        body = b"x" * 5000
    elif kind == "slow":
        time.sleep(0.06)
    elif kind == "this":
        uwsgi.log_this_request()
    elif kind == "note":
        uwsgi.set_logvar("note", rest)
    elif kind == "say":
        print("request: printed")
        sys.stderr.write("request: on stderr\n")
        environ["wsgi.errors"].write("request: on wsgi.errors\n")
        environ["wsgi.errors"].flush()
        logging.getLogger("shop").warning("request: logged")
        uwsgi.log("request: by uwsgi.log")
    start_response(status, [("Content-Type", "text/plain")])
    if kind == "file":
        return environ["wsgi.file_wrapper"](open(__file__, "rb"), 8192)
    return [body]
