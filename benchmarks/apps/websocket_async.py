"""Sends every message back; for our async handler."""

import uwsgi_async


async def application(environ, start_response):
    ws = uwsgi_async.websocket()
    await ws.accept()
    async for message in ws:
        await ws.send(message)
