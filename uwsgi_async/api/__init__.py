"""The documented functions, as awaitables where they can wait: one module a chapter of uWSGI's reference.

The `uwsgi` module (`compat.uwsgi_module`) is derived from what each chapter lists in ``__all__``.
"""

from uwsgi_async.api import asynchronous, cache, information, process, request

CHAPTERS = (asynchronous, request, information, process, cache)
