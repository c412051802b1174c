"""Chunked input in real uWSGI and here: what each call returns and raises."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.oracle import require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

HEAD = "POST /%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
OPTIONS = ["--chunked-input-timeout", "1", "--chunked-input-limit", "8192"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    require()
    tmp = tmp_path_factory.mktemp("parity")
    with start_oracle("bodies.py", tmp, *OPTIONS) as oracle, start_ours("bodies.py", tmp, *OPTIONS) as ours:
        yield oracle, ours


def ask(server: Running, path: str, *parts: bytes) -> Any:
    """Send the head and the parts of a body; return what the app tells. The connection stays open for sending."""
    with socket.create_connection(("127.0.0.1", server.http), timeout=20) as sock:
        sock.sendall((HEAD % path).encode() + b"".join(parts))
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return json.loads(answer.partition(b"\r\n\r\n")[2])


CASES = {
    "chunks are returned one by one, then b'' for ever": ("read_all", b"5\r\nhello\r\n1\r\n \r\n0\r\n\r\n"),
    "an end alone is an end": ("read_all", b"0\r\n\r\n"),
    "upper and lower case digits": ("read_all", b"a\r\n0123456789\r\nB\r\n01234567890\r\n0\r\n\r\n"),
    "a chunk that does not come in time is an OSError": ("read_with_timeout", b"1\r\na\r\n5\r\nhel"),
    "a size that is no number is an OSError": ("read_all", b"1\r\na\r\n!\r\n"),
    "the non-blocking form gives None until a chunk is whole": ("look", b"1\r\na\r\n5\r\nhel"),
    "arguments that are no number": ("wrong_arguments", b""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_app_gets_the_same(both: tuple[Running, Running], case: str) -> None:
    oracle, ours = (ask(server, *CASES[case]) for server in both)
    assert ours == oracle


def test_a_size_in_letters_beyond_f_ends_the_body_in_uwsgi_and_is_an_error_here(both: tuple[Running, Running]) -> None:
    oracle, ours = (ask(server, "read_all", b"1\r\na\r\nzz\r\n") for server in both)
    assert oracle == ["a", "", "", ""]
    assert ours == ["a", *3 * [["OSError", True]]]


def test_extensions_of_chunks_are_an_error_in_uwsgi_and_read_over_here(both: tuple[Running, Running]) -> None:
    oracle, ours = (ask(server, "read_all", b"1;a=b\r\na\r\n0\r\n\r\n") for server in both)
    assert oracle[0] == ["OSError", True]
    assert ours == ["a", "", "", ""]


def test_a_chunk_that_is_announced_to_be_larger_than_the_limit_is_an_oserror(both: tuple[Running, Running]) -> None:
    oracle, ours = (ask(server, "read_all", b"4000\r\nx") for server in both)
    assert ours[:2] == oracle[:2] == 2 * [["OSError", True]]
    assert oracle[2] is None  # uWSGI no longer knows where it is; here it stays an error
    assert ours[2] == ["OSError", True]
