"""The request log: each variable of a format, the default line, and what is logged in any case."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.test_parity import packet

SERVERS = {"ours": start_ours, "oracle": start_oracle}
SAME = [
    "uri", "method", "user", "addr", "host", "proto", "uagent", "referer", "status", "rsize", "cl", "vars", "pktsize",
    "modifier1", "modifier2", "headers", "werr", "rerr", "ioerr", "wid", "nothing", "var.HTTP_X_TEST", "var.NOTHING",
    "note", "var.REQUEST_METHOD",
    "metric.nope",
]  # fmt: skip
SHAPES = {
    "micros": r"\d+",
    "msecs": r"\d+",
    "secs": r"\d+\.\d{6}",
    "time": r"\d{10}",
    "tmsecs": r"\d{13}",
    "tmicros": r"\d{16}",
    "ltime": r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "ftime": r"\d{4}-\d\d-\d\d",
    "ctime": r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    "epoch": r"\d{10}",
    "pid": r"\d+",
    "core": r"\d+",
    "switches": r"\d+",
    "size": r"\d+",
    "hsize": r"\d+",
    "vsz": r"\d{6,}",
    "rss": r"\d{6,}",
    "vszM": r"\d+",
    "rssM": r"\d+",
}
FORMAT = "LINE|" + "|".join(f"{name}=%({name})" for name in (*SAME, *SHAPES)) + "|%(uri)"
HEADERS = {"X-Test": "x", "Referer": "http://r/", "User-Agent": "t\xe9ster", "Host": "h"}
VARS = {
    "REQUEST_METHOD": "GET", "REQUEST_URI": "/headers?\u65e5", "PATH_INFO": "/headers", "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "1.2.3.4", "REMOTE_USER": "ada", "HTTP_HOST": "h", "SERVER_NAME": "n",
    "SERVER_PORT": "80",
}  # fmt: skip
Ask = Callable[[Running], object]


def http(target: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Ask:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda running: running.request(method, target, body=body, headers=named)


def uwsgi(**vars: str) -> Ask:
    return lambda running: running.raw(running.uwsgi, packet(0, VARS | vars))


def logged(server: str, tmp: Path, options: list[str], asks: list[Ask], end: str = "/environ?end") -> list[str]:
    """What a server logs of some requests, up to the line of the request ``end``, whose line has its target."""
    with SERVERS[server]("logged.py", tmp, *options) as running:
        before = len(running.log_path.read_bytes())
        for ask in [*asks, http(end)]:
            ask(running)

        def ended(_: str) -> list[str] | None:
            lines = running.log_path.read_bytes()[before:].decode("utf-8", "backslashreplace").split("\n")
            last = next((number for number, line in enumerate(lines[:-1]) if end in line), None)
            return None if last is None else lines[:last]

        return running.log_until(ended)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The variables of the lines of three requests, by server."""
    tmp = tmp_path_factory.mktemp("logs")
    options = ["--log-format", FORMAT, "--memory-report", "--logformat-strftime", "--log-date=%Y-%m-%d"]
    asks = [http("/note/n?a=b", **HEADERS), http("/x", "POST", b"12345", **HEADERS), uwsgi()]
    return {
        server: [
            dict(part.split("=", 1) for part in line.split("|")[1:-1])
            for line in logged(server, tmp, options, asks)
            if line.startswith("LINE|")
        ]
        for server in SERVERS
    }


@pytest.mark.parametrize("number", [0, 1, 2], ids=["get", "post", "uwsgi"])
@pytest.mark.parametrize("name", SAME)
def test_a_variable_has_the_same_value(lines: dict[str, list[dict[str, str]]], name: str, number: int) -> None:
    assert lines["ours"][number][name] == lines["oracle"][number][name]


@pytest.mark.parametrize("name", SHAPES)
def test_a_variable_that_must_differ_has_the_same_shape(lines: dict[str, list[dict[str, str]]], name: str) -> None:
    for server in SERVERS:
        assert re.fullmatch(SHAPES[name], lines[server][0][name]), server


# What depends on the process, the time, and the response headers that only we send.
VARYING = [
    (r"\d+ bytes/\d+MB", "N bytes/NMB"),
    (r"pid: \d+", "pid: N"),
    (r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]", "[TIME]"),
    (r"in \d+ (msecs|micros)", r"in N \1"),
    (r"\d headers in \d+ bytes \(\d+ switches on core \d+\)", "H headers in N bytes (N switches on core N)"),
]


def constant(line: str) -> str:
    for pattern, replacement in VARYING:
        line = re.sub(pattern, replacement, line)
    return line


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        (["--log-micros"], [http("/a"), uwsgi(REQUEST_URI="/h\xe9"), http("/file"), http("/x", "POST", b"1")]),
        (["--memory-report"], [http("/a")]),
        (
            ["--log-x-forwarded-for"],
            [http("/a", X_Forwarded_For="9.9.9.9, 8.8.8.8"), uwsgi(HTTP_X_FORWARDED_FOR="7.7.7.7"), uwsgi()],
        ),
        (["--log-format", "%(a(b)|%(%(uri)|%%(uri)|100%"], [http("/a")]),
        (
            ["--log-format", '%(uri) "%(uagent)" %(var.X)'],
            [http("/a", User_Agent="a 'b' (c)"), uwsgi(X="\u65e5 %(uri)"), uwsgi(HTTP_USER_AGENT="")],
        ),
    ],
    ids=["default", "memory-report", "log-x-forwarded-for", "odd", "quotes"],
)
def test_a_line_is_the_same(options: list[str], asks: list[Ask], tmp_path: Path) -> None:
    ours, theirs = (list(map(constant, logged(server, tmp_path, options, asks))) for server in SERVERS)
    assert len(ours) >= len(asks)
    assert ours == theirs


REMARKABLE = ["/a", "/status/404", "/status/500", "/status/399", "/empty", "/big", "/slow", "/this", "/file", "/b"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--log-4xx", "--log-zero"], ["/status/404", "/empty", "/this"]),
        (["--log-5xx", "--log-big", "4000"], ["/status/500", "/big", "/this"]),
        (["--log-slow", "50", "--log-sendfile", "true", "--log-ioerror", "1"], ["/slow", "/this", "/file"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_same_requests_are_logged_though_logging_is_off(
    options: list[str], expected: list[str], tmp_path: Path
) -> None:
    options = ["--disable-logging", "--log-format", "logged %(uri)", *options]
    asks = [http(target) for target in REMARKABLE]
    for server in SERVERS:
        lines = logged(server, tmp_path, options, asks, end="/this?end")
        assert [line.removeprefix("logged ") for line in lines if line.startswith("logged ")] == expected, server


def test_a_value_in_quotes_may_end_them_in_uwsgi_only(tmp_path: Path) -> None:
    options = ["--log-format", '"%(uagent)" %(uri)']
    asks = [http("/a", User_Agent='x" 200 "\\')]
    assert logged("oracle", tmp_path, options, asks) == ['"x" 200 "\\" /a']
    assert logged("ours", tmp_path, options, asks) == ['"x\\x22 200 \\x22\\x5c" /a']


def test_a_client_may_forge_a_line_in_uwsgi_only(tmp_path: Path) -> None:
    asks = [uwsgi(REQUEST_URI="/a\nforged \x1b[1m")]
    options = ["--log-format", "%(method) %(uri)"]
    assert logged("oracle", tmp_path, options, asks) == ["GET /a", "forged \x1b[1m"]
    assert logged("ours", tmp_path, options, asks) == ["GET /a\\x0aforged \\x1b[1m"]


def test_json_has_the_same_values(tmp_path: Path) -> None:
    names = (
        "addr",
        "user",
        "method",
        "uri",
        "proto",
        "host",
        "referer",
        "uagent",
        "status",
        "rsize",
        "cl",
        "vars",
        "note",
    )
    numbers = {"status", "rsize", "cl", "vars"}
    format = "{" + ", ".join(f'"{n}": %({n})' if n in numbers else f'"{n}": "%({n})"' for n in names) + "}"
    asks = [
        http("/note/n", "POST", b"12", **HEADERS | {"User-Agent": "tester"}),
        uwsgi(PATH_INFO="/note/\u65e5", HTTP_REFERER="r", HTTP_USER_AGENT="u"),
    ]
    theirs = [json.loads(line) for line in logged("oracle", tmp_path, ["--log-format", format], asks)]
    ours = [json.loads(line) for line in logged("ours", tmp_path, ["--log-format", format], asks)]
    by_option = [json.loads(line) for line in logged("ours", tmp_path, ["--log-json"], asks)]
    assert ours == theirs
    assert [
        {name: line[name] or "-" if line[name] == "" else line[name] for name in names} for line in by_option
    ] == theirs
