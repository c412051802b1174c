"""Websockets in both servers: each path makes the calls of one kind of app. The same code runs in both."""

import uwsgi


def application(environ, start_response):
    try:
        return KINDS[environ["PATH_INFO"]](environ, start_response)
    except OSError as error:
        print(f"ended {environ['PATH_INFO']} {error}", flush=True)
        return []


def echo(environ, start_response):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        message = uwsgi.websocket_recv()
        assert isinstance(message, bytes)
        uwsgi.websocket_send(message)


def bare(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send_binary(uwsgi.websocket_recv())


def chosen(environ, start_response):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], "http://chosen", "mine")
    return []


def polling(environ, start_response):
    """What uWSGI's chats do: watch the descriptor, and ask without waiting."""
    uwsgi.websocket_handshake()
    uwsgi.websocket_send(repr(uwsgi.websocket_recv_nb()))
    fd = uwsgi.connection_fd()
    while True:
        uwsgi.wait_fd_read(fd, 3)
        uwsgi.suspend()
        message = uwsgi.websocket_recv_nb()
        if message:
            uwsgi.websocket_send(b"polled " + message)


def after(environ, start_response):
    """Every call behind the end is an OSError."""
    uwsgi.websocket_handshake()
    seen = []
    for call in (uwsgi.websocket_recv, uwsgi.websocket_recv, uwsgi.websocket_recv_nb):
        try:
            call()
        except OSError:
            seen.append("OSError")
    try:
        uwsgi.websocket_send("x")
    except OSError:
        seen.append("OSError")
    print("after", *seen, flush=True)
    return []


def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"plain"]


KINDS = {"/echo": echo, "/bare": bare, "/chosen": chosen, "/polling": polling, "/after": after, "/plain": plain}
