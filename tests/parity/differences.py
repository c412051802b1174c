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
