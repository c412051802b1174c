"""Where we differ from real uWSGI on purpose: the one table, with the reasons. The harness drops just these."""

HEADERS = {
    "date": "RFC 9110 asks an origin server with a clock for it",
    "content-length": "known lengths are announced, so that the connection can live on",
    "transfer-encoding": "unknown lengths are sent in chunks, so that the connection can live on",
    "connection": "the connection lives on; uWSGI closes it after each response",
}
"""Response headers that we add."""

ENVIRON = {
    "uwsgi.node": "the machine's name may be given in another form",
    "SERVER_PORT": "each server has its own",
    "HTTP_HOST": "holds the port",
    "uwsgi.core": "which core is free depends on the time",
    "wsgi.errors": "another type of text stream",
    "wsgi.input": "another type",
}
"""Keys of the environ whose values are not compared; that they are there is."""

CALLS = {
    "error": "an app's error is a 500 for the client; uWSGI closes the connection without an answer",
    "suspend_alone": "with nothing to wait for it gives way once; under --greenlet uWSGI does not come back in time",
}
"""Paths of the app that are not compared but tested by themselves."""

# One more, which no case shows: after a yield uWSGI's ready_fd() is -1 again while environ["uwsgi.ready_fd"] holds the
# fd; ours tells the fd in both places.

LOADING = {
    "need-app is on by default": "a start or reload with an app that fails would take a site down that serves; "
    "need-app=false does as uWSGI. It is for every named app and import; uWSGI's is for the first one",
    "a mountpoint's last slash does not count": "uWSGI's PATH_INFO has no first slash then (PEP 3333), and for the "
    "mountpoint itself it is memory beyond the request",
    "an app at / is the default app": "uWSGI takes the first mount, through an assignment that was to be a comparison",
    "the first of the applications is at its own mountpoint": "uWSGI copies 0 bytes of it",
    "SCRIPT_NAME is always there": "uWSGI leaves it out for / with manage-script-name",
    "all apps share one interpreter": "uWSGI makes one for each mount without single-interpreter",
}
"""What is loaded, and how it is found: all of it is tested in test_loading, but the interpreters."""

STATIC = {
    "a root ends at a slash": "uWSGI sends files of /srv/static-private for a map to /srv/static",
    "a map's path ends at a slash": "uWSGI sends /static/x for /staticx",
    "a NUL byte names nothing": "uWSGI cuts the path there, behind the check of static-skip-ext",
    "an index may not lead out of the root": "uWSGI judges the directory alone",
    "Range is heeded without an option": "honour-range=false does as uWSGI",
    "bytes=0- is 206": "uWSGI answers 200, and players of videos then do not seek",
    "what is not one range of bytes is ignored": "RFC 9110, 14.2; uWSGI answers 416 or sends the first",
    "HEAD has no ranges": "RFC 9110, 14.2",
    "If-Range is for the same date": "RFC 9110, 13.1.5; uWSGI looks for a header of another length",
    "the other conditions": "If-Match, If-None-Match and If-Unmodified-Since count as RFC 9110, 13.2.2 says",
    "a type is found for capital letters too": "uWSGI has none for A.TXT",
}
"""Static files: all of it is tested in test_static."""

LOGS = {
    "what a client sends is escaped": "uWSGI lets it end the line and write another, or command a terminal",
    "a variable in quotes cannot end them": "uWSGI writes quotes as they are, and so a client may forge fields",
    "rss and vsz are always there": "uWSGI measures them with memory-report alone",
}
"""Request lines: the first two are tested in test_logs from both sides."""

SNMP = {
    "all of GETNEXT, GETBULK and SET, and GET of several objects": "uWSGI answers a GET of one object and nothing else",
    "what is not there": "is noSuchObject or noSuchInstance (RFC 3416, section 4.2.1), in v1 noSuchName; uWSGI tells "
    "NULL for a slot that is empty, and gives no answer elsewhere",
    "Counter64 in v1": "does not exist there (RFC 3584, section 4.2.2.1): noSuchName; uWSGI tells it",
    "snmp_incr_counter64 and snmp_decr_counter64": "add and subtract all of the number; uWSGI takes 32 bits of it",
    "an oid beyond a byte": "is an OverflowError in each call; uWSGI's functions with two arguments then try with one",
    "numbers of 2**31 and more": "are written as BER wants it; uWSGI's 4 or 8 bytes are negative numbers",
}
"""SNMP: each is tested in test_snmp."""

WEBSOCKETS = {
    "fragments": "uWSGI gives the app b'\\0' for each part but the last, and mixes those of two websockets",
    "what is read ahead": "uWSGI's websocket_recv_nb takes it from the socket, and the descriptor sleeps beside it",
    "pongs and close frames": "they echo what the client has sent (RFC 6455, 5.5); uWSGI's are empty",
    "frames without a mask, text that is no UTF-8": "they end the websocket (RFC 6455, 5.1 and 8.1); uWSGI takes them",
    "a message over the limit": "the client is told 1009; uWSGI closes the connection",
    "several subprotocols": "one is taken (RFC 6455, 4.2.2); uWSGI sends the list back, and browsers give up",
    "another version": "426 (RFC 6455, 4.4); uWSGI accepts it",
    "compression": "for clients that offer it; uWSGI has none",
    "the first ping": "after websockets-ping-freq of silence; uWSGI's is sent by the first websocket_recv_nb",
}
"""Websockets: all of it is tested in test_websockets, the last in tests/websockets/test_faults.py."""
