"""Whether an app's error only follows from what its client has done: `client_caused`.

Frameworks raise errors of their own when `send` has raised, and task groups put them into groups; none of that is an
error of the app.
"""

from __future__ import annotations

from uwsgi_async.errors import BadRequestError, DisconnectedError, PeerError, PeerTimeoutError

_CLIENTS = (DisconnectedError, PeerTimeoutError, BadRequestError)


def client_caused(error: BaseException) -> PeerError | None:
    """Return the error of the client's that has led to ``error``, None when it has another cause."""
    if isinstance(error, BaseExceptionGroup):
        found = [client_caused(each) for each in error.exceptions]
        return found[0] if all(each is not None for each in found) else None
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _CLIENTS):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
