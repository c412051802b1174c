"""`RequestHead`: what a reader says about a request before its body."""

from uwsgi_async.wire.vars import Vars


class RequestHead:
    """The head of one request.

    Attributes:
        vars: the CGI-like request variables, named and decoded as uWSGI's http socket does (latin-1 str).
        method: the method as sent.
        http_1_1: True for HTTP/1.1, False for HTTP/1.0.
        keep_alive: the client wants the connection to persist (RFC 9112, 9.3).
        content_length: bytes of body; None for a chunked body; 0 without a body.
        expect_continue: the client waits for 100 Continue before it sends the body (RFC 9110, 10.1.1).
        upgrade: the client offers another protocol in Upgrade (RFC 9110, 7.8).
    """

    __slots__ = ("content_length", "expect_continue", "http_1_1", "keep_alive", "method", "upgrade", "vars")

    vars: Vars
    method: str
    http_1_1: bool
    keep_alive: bool
    content_length: int | None
    expect_continue: bool
    upgrade: bool

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name, None)!r}" for name in self.__slots__)
        return f"RequestHead({shown})"
