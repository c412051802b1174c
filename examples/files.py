"""Send this file without holding a core, however slowly the client reads: ``uwsgi-async examples/files.py``."""

import uwsgi_async


async def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/x-python")])
    return [await uwsgi_async.offload(__file__)]
