"""Which options a reload changes."""

from __future__ import annotations

import pytest

from uwsgi_async.options.build import build, by_field
from uwsgi_async.options.reread import keep_fixed

RUNNING = build(http_socket="127.0.0.1:8000", processes=2, harakiri=5.0)


def test_what_is_not_fixed_changes() -> None:
    wanted = build(http_socket="127.0.0.1:8000", processes=3, harakiri=6.0, wsgi_file="other.py")
    assert keep_fixed(RUNNING, wanted) == (wanted, [])


def test_a_fixed_option_stays_and_is_named() -> None:
    wanted = build(http_socket="127.0.0.1:9000", socket=("a", "b"), pidfile="new.pid", processes=3)
    options, sentences = keep_fixed(RUNNING, wanted)
    assert options == build(http_socket="127.0.0.1:8000", processes=3)
    assert sentences == [
        "http-socket: a reload cannot change 127.0.0.1:8000 to 127.0.0.1:9000: restart for that",
        "socket: a reload cannot change nothing to a, b: restart for that",
        "pidfile: a reload cannot change nothing to new.pid: restart for that",
    ]


@pytest.mark.parametrize(
    "name", ["http_socket", "listen", "master", "pidfile", "master_fifo", "uid", "stats", "queue", "cache2", "locks"]
)
def test_what_the_master_has_opened_is_fixed(name: str) -> None:
    assert by_field()[name].fixed
