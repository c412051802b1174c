"""One app for both servers: tells what it is told of TLS."""

import json


def application(environ, start_response):
    told = {key: value for key, value in environ.items() if key.startswith("HTTPS") or key == "wsgi.url_scheme"}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
