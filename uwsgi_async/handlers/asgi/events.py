"""The types of what goes between server and app, and how an ASGI 2 app is called as one of ASGI 3.

What lives here: type aliases, `single_callable`. What does not: any event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def single_callable(app: Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]) -> App:
    """Return an ASGI 3 app that calls ``app``, which is of ASGI 2: called with the scope, it returns what is awaited.

    Source: the specification, "Legacy Applications".
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return call
