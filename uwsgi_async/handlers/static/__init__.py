"""Files that are sent without an app.

    files        which file a path names: the maps, the index, what is below the root
    conditions   what a client wants of it: RFC 9110's conditions and ranges, without I/O
    headers      what is told of it: content type, Expires, a compressed variant
    handler      all of this for a request; in front of the app's handler

Source: uWSGI, core/static.c, and its page "Serving static files with uWSGI".
"""

from uwsgi_async.handlers.static.handler import StaticHandler

__all__ = ["StaticHandler"]
