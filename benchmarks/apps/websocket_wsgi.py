"""Sends every message back, in uWSGI's own words."""

import uwsgi


def application(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
