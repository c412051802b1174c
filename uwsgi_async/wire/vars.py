"""`Vars`: the request variables, which every protocol of `wire` makes and everything above reads."""

from __future__ import annotations

from typing import Any


class Vars(dict[str, str]):
    """The CGI-like variables of a request. Requests of the same bytes may share them: copy, never change.

    ``shared``: whether they are. ``environ``: what a handler of WSGI has made of them, kept with them while they are
    shared, so that the work is done once for many requests; None when there is none. ``scope``: the same of ASGI.
    ``managed``: the same for the variables that `handlers.mounts` makes of them. ``head``: the HTTP head that they
    were read from, as it came; b"" where the protocol has none.
    """

    __slots__ = ("_size", "environ", "head", "managed", "scope", "shared")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shared = False
        self.environ: dict[str, Any] | None = None
        self.scope: dict[str, Any] | None = None
        self.head = b""
        self.managed: Vars | None = None
        self._size = 0

    @property
    def packet_size(self) -> int:
        """The bytes that these variables take in a uwsgi packet."""
        if not self._size:
            self._size = 4 * len(self) + sum(map(len, self)) + sum(map(len, self.values()))
        return self._size
