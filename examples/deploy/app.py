"""The app of these examples: it says which process answers."""

import os


async def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello from process {os.getpid()}\n".encode()]
