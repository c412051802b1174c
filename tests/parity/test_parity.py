"""The same app, the same options, the same requests: real uWSGI 2.0.31 and uwsgi-async, compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.parity.differences import ENVIRON, HEADERS
from tests.parity.harness import Running, Seen, start_oracle, start_ours
from tests.parity.oracle import require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

LINE = re.compile(
    r"\[pid: \d+\|app: (?P<app>-?\d+)\|req: \d+/\d+\] (?P<addr>\S*) \((?P<user>[^)]*)\) "
    r"\{(?P<vars>\d+) vars in (?P<bytes>\d+) bytes\} \[\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\] "
    r"(?P<method>\S+) (?P<uri>\S+) => generated (?P<body>\d+) bytes in \d+ msecs(?P<via> (?:via \w+\(\) )?)"
    r"\((?P<proto>\S+) (?P<status>\d+)\) (?P<headers>\d+) headers in \d+ bytes \(\d+ switches on core \d+\)"
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    """The oracle and our server, with the same app."""
    require()
    tmp = tmp_path_factory.mktemp("parity")
    with start_oracle("surface.py", tmp) as oracle, start_ours("surface.py", tmp, "--uwsgi-allow", "ping") as ours:
        yield oracle, ours


def told(seen: Seen) -> tuple[int, str, list[tuple[str, str]], bytes]:
    """What is compared of a response."""
    headers = [(name, value) for name, value in seen.headers if name.lower() not in HEADERS]
    return seen.status, seen.reason, headers, seen.body


CASES = {
    "headers keep order and duplicates": ("GET", "/headers", None, {}),
    "write() sends before what is returned": ("GET", "/write", None, {}),
    "a second start_response replaces the first": ("GET", "/twice", None, {}),
    "start_response after the head raises": ("GET", "/after_head", None, {}),
    "start_response refuses wrong shapes": ("GET", "/shapes", None, {}),
    "a generator's chunks are sent in order": ("GET", "/generator", None, {}),
    "start_response may come after an empty chunk": ("GET", "/late_start", None, {}),
    "items that are not bytes are skipped": ("GET", "/items", None, {}),
    "a tuple is a body": ("GET", "/a_tuple", None, {}),
    "bare bytes are one body": ("GET", "/bare", None, {}),
    "an empty list is an empty body": ("GET", "/empty", None, {}),
    "file_wrapper sends a file": ("GET", "/wrapped", None, {}),
    "file_wrapper sends what has no descriptor": ("GET", "/wrapped_memory", None, {}),
    "sendfile sends a file": ("GET", "/send_file", None, {}),
    "read() reads all": ("POST", "/read_all", b"a body", {}),
    "read(n) reads parts, and b'' at the end": ("POST", "/read_parts", b"abcdefgh", {}),
    "readline and readlines": ("POST", "/read_lines", b"a\nb\nc", {}),
    "iteration gives lines": ("POST", "/iterate", b"a\nb\n\nc", {}),
    "an empty body": ("POST", "/read_all", b"", {}),
    "no body at all": ("GET", "/read_all", None, {}),
    "a body of a megabyte": ("POST", "/read_size", b"x" * 1_000_000, {}),
    "a body that is not read": ("POST", "/unread", b"x" * 1000, {}),
    "status 404": ("GET", "/status?404+NOT+FOUND", None, {}),
    "status 299 with a reason of its own": ("GET", "/status?299+Whatever+You+Like", None, {}),
    "status 500 from the app": ("GET", "/status?500+Internal", None, {}),
    "globals": ("GET", "/information", None, {}),
    "kinds of values": ("GET", "/kinds", None, {}),
    "workers() has the same keys and types": ("GET", "/workers", None, {}),
    "results of calls": ("POST", "/calls", b"12345", {}),
    "async_sleep sleeps when it is yielded": ("GET", "/yield_sleep", None, {}),
    "wait_fd_read waits when it is yielded": ("GET", "/yield_read", None, {}),
    "wait_fd_read times out when it is yielded": ("GET", "/yield_timeout", None, {}),
    "wait_fd_read and suspend": ("GET", "/suspend_read", None, {}),
    "wait_fd_write and suspend": ("GET", "/suspend_write", None, {}),
    "suspend ends at the timeout": ("GET", "/suspend_timeout", None, {}),
    "errors of wait_fd_read": ("GET", "/wait_errors", None, {}),
    "async_connect to nowhere is -1": ("GET", "/connect_refused", None, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_client_sees_the_same(both: tuple[Running, Running], case: str) -> None:
    oracle, ours = (told(server.request(*CASES[case])) for server in both)
    assert ours == oracle


ENVIRONS = {
    "GET": ("GET", "/environ", None, {}),
    "query": ("GET", "/environ?a=1&b=%20x", None, {}),
    "escapes": ("GET", "/environ/a%20b%2Fc", None, {}),
    "utf-8 escapes": ("GET", "/environ/%C3%A9", None, {}),
    "two slashes": ("GET", "/environ//x", None, {}),
    "headers": ("GET", "/environ", None, {"X-One": "1", "Accept": "text/html", "User-Agent": "test"}),
    "POST with a form": ("POST", "/environ", b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}),
    "PUT without a type": ("PUT", "/environ", b"data", {}),
    "DELETE": ("DELETE", "/environ", None, {}),
    "cookies": ("GET", "/environ", None, {"Cookie": "a=1; b=2"}),
}


@pytest.mark.parametrize("case", ENVIRONS)
def test_the_environ_is_the_same_key_by_key(both: tuple[Running, Running], case: str) -> None:
    oracle, ours = (json.loads(server.request(*ENVIRONS[case]).body) for server in both)
    assert ours.keys() == oracle.keys()
    for key in ours.keys() - ENVIRON.keys():
        assert (key, ours[key]) == (key, oracle[key])


def packet(modifier1: int, vars: dict[str, str]) -> bytes:
    payload = b""
    for key, value in vars.items():
        for text in (key.encode(), value.encode()):
            payload += len(text).to_bytes(2, "little") + text
    return bytes([modifier1]) + len(payload).to_bytes(2, "little") + b"\0" + payload


REQUEST = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/environ?q=1",
    "PATH_INFO": "/environ",
    "QUERY_STRING": "q=1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "name",
    "SERVER_PORT": "80",
    "REMOTE_ADDR": "1.2.3.4",
    "HTTP_X_EMPTY": "",
}


def test_the_environ_of_a_uwsgi_packet_is_the_same(both: tuple[Running, Running]) -> None:
    bodies = [json.loads(server.raw(server.uwsgi, packet(0, REQUEST)).split(b"\r\n\r\n", 1)[1]) for server in both]
    for key in bodies[1].keys() - ENVIRON.keys() | {"SERVER_PORT"}:
        assert (key, bodies[1][key]) == (key, bodies[0][key])
    assert bodies[1].keys() == bodies[0].keys()


PACKETS = {
    "a ping is answered": packet(100, {}),
    "an empty packet is skipped": packet(0, {}),
    "an unknown modifier is closed without a byte": packet(201, {"A": "1"}),
    "a var without a name is refused": b"\0\x04\0\0\0\0\0\0",
}


@pytest.mark.parametrize("case", PACKETS)
def test_a_uwsgi_peer_sees_the_same(both: tuple[Running, Running], case: str) -> None:
    oracle, ours = (server.raw(server.uwsgi, PACKETS[case]) for server in both)
    assert ours == oracle


def test_https_is_told_by_the_front_end(both: tuple[Running, Running]) -> None:
    request = packet(0, {**REQUEST, "HTTPS": "on"})
    schemes = [
        json.loads(server.raw(server.uwsgi, request).split(b"\r\n\r\n", 1)[1])["wsgi.url_scheme"] for server in both
    ]
    assert schemes[1] == schemes[0] == ["str", "https"]


def test_suspend_alone_gives_way_once(both: tuple[Running, Running]) -> None:
    assert json.loads(both[1].request("GET", "/suspend_alone").body) == [["bool", True], ["bool", True]]


def test_an_error_of_the_app_is_a_500_where_uwsgi_closes(both: tuple[Running, Running]) -> None:
    assert both[0].raw(both[0].http, b"GET /error HTTP/1.0\r\nHost: test\r\n\r\n") == b""
    assert both[1].request("GET", "/error").status == 500


@pytest.mark.parametrize("target", ["/headers?logged=1", "/send_file?logged=2", "/read_all?logged=3"])
def test_the_request_log_line_has_the_same_fields(both: tuple[Running, Running], target: str) -> None:
    fields = []
    for server in both:
        server.request("POST", target, b"12345", {"User-Agent": "log"})
        line = server.log_until(
            lambda text: next((line for line in LINE.finditer(text) if line["uri"] == target), None)
        )
        found = line.groupdict()
        # The port is part of two vars, and its length may differ.
        found["bytes"] = str(int(found["bytes"]) - 2 * len(str(server.http)))
        fields.append(found)
    assert fields[1] == fields[0]
