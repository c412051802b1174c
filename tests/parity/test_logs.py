"""Each variable of a log format is the same in both servers' lines, over both protocols."""

from __future__ import annotations

import re

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.test_parity import packet

SAME = [
    *(
        "uri",
        "method",
        "user",
        "addr",
        "host",
        "proto",
        "uagent",
        "referer",
        "status",
        "rsize",
        "cl",
        "vars",
        "pktsize",
    ),
    *("pktsize", "modifier1", "modifier2", "headers", "werr", "rerr", "ioerr", "wid", "nothing", "var.HTTP_X_TEST"),
    *("var.NOTHING", "logged"),
]
SHAPES = {
    "micros": r"\d+",
    "msecs": r"\d+",
    "secs": r"\d+\.\d{6}",
    "time": r"\d{10}",
    "tmsecs": r"\d{13}",
    "tmicros": r"\d{16}",
    "ltime": r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "ftime": r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "ctime": r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    "epoch": r"\d{10}",
    "pid": r"\d+",
    "core": r"\d+",
    "switches": r"\d+",
    "size": r"\d+",
    "hsize": r"\d+",
}
FORMAT = "LINE|" + "|".join(f"{name}=%({name})" for name in (*SAME, *SHAPES)) + "|"
HEADERS = {"X-Test": "x", "Referer": "http://r/", "User-Agent": "tester", "Host": "h"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The fields of the lines of three requests, by server."""
    tmp = tmp_path_factory.mktemp("logs")
    found = {}
    for name, start in (("ours", start_ours), ("oracle", start_oracle)):
        with start("surface.py", tmp, "--log-format", FORMAT) as running:
            ask(running)
            found[name] = running.log_until(three_lines)
    return found


def ask(running: Running) -> None:
    running.request("GET", "/headers?a=b", headers=HEADERS)
    running.request("POST", "/read_all", body=b"12345", headers=HEADERS)
    vars = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": "/headers", "PATH_INFO": "/headers", "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "1.2.3.4", "REMOTE_USER": "ada", "HTTP_HOST": "h",
        "SERVER_NAME": "n", "SERVER_PORT": "80",
    }  # fmt: skip
    running.raw(running.uwsgi, packet(0, vars))


def three_lines(log: str) -> list[dict[str, str]] | None:
    found = [dict(part.split("=", 1) for part in line.split("|")[1:-1]) for line in re.findall(r"LINE.*\|\n", log)]
    return found if len(found) == 3 else None


@pytest.mark.parametrize("number", [0, 1, 2], ids=["get", "post", "uwsgi"])
@pytest.mark.parametrize("name", SAME)
def test_a_variable_has_the_same_value(lines: dict[str, list[dict[str, str]]], name: str, number: int) -> None:
    assert lines["ours"][number][name] == lines["oracle"][number][name]


@pytest.mark.parametrize("name", SHAPES)
def test_a_variable_that_must_differ_has_the_same_shape(lines: dict[str, list[dict[str, str]]], name: str) -> None:
    for server in ("ours", "oracle"):
        assert re.fullmatch(SHAPES[name], lines[server][0][name]), server
