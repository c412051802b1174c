"""Tests of `uwsgi_async.wire.http`."""
