"""ASGI 3 apps: the third kind of handler.

What lives here: what an app is called with (`scope`), a request and its answer (`http`), websockets (`websocket`), the
beginning and the end of a process's event loop (`lifespan`), response heads (`head`). What does not: telling that an
app is one (`detect`).
Source: the ASGI specification 3.0, with its parts "HTTP & WebSocket" 2.5 and "Lifespan" 2.0.
"""

from uwsgi_async.handlers.asgi.http import AsgiHandler
from uwsgi_async.handlers.asgi.lifespan import Lifespan

__all__ = ["AsgiHandler", "Lifespan"]
