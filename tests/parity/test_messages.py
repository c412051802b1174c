"""Messages, requests that are handed on, and FastCGI with real uWSGI at the other end; alarms that act the same."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import uwsgi_async
from tests.client import get
from tests.instance.others import file_with
from tests.parity.harness import APPS, Running, start
from tests.parity.noted import started
from tests.parity.oracle import require
from uwsgi_async.wire.cgihead import HeadSplitter

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """Real uWSGI, and the path of its FastCGI socket."""
    require()
    tmp = tmp_path_factory.mktemp("oracle")
    path = str(tmp / "fastcgi.sock")
    with start("oracle", tmp, "--wsgi-file", str(APPS / "messages.py"), "--fastcgi-socket", path, cwd=tmp) as running:
        yield running, path


def split(data: bytes) -> tuple[str, Any]:
    """Return the status and the JSON of a response."""
    splitter = HeadSplitter()
    head = splitter.receive_data(data)
    assert head is not None
    assert ("X-Seen", "yes") in head.headers
    return head.status, json.loads(splitter.rest)


VARS = {"REQUEST_METHOD": "POST", "PATH_INFO": "/a", "QUERY_STRING": "b=c", "HTTP_X_SENT": "x"}


@pytest.mark.anyio
async def test_a_message_is_a_request_for_real_uwsgi(oracle: tuple[Running, str], tmp_path: Path) -> None:
    address = f"127.0.0.1:{oracle[0].uwsgi}"
    with file_with(tmp_path / "body", b"1" * 300_000) as file:
        vars = {**VARS, "CONTENT_LENGTH": "300000"}
        answer = await uwsgi_async.send_message(address, 0, 0, vars, 20, file.fileno(), 300_000)
        assert answer is not None
        data = b"".join([chunk async for chunk in answer])
    assert split(data) == ("201 Created", [["POST", "/a", "b=c", "x", "300000"], 300_000, 300_000 * ord("1")])


@pytest.mark.anyio
async def test_real_uwsgi_answers_pings_to_several_at_once(oracle: tuple[Running, str]) -> None:
    port = oracle[0].uwsgi
    assert await uwsgi_async.send_multi_message([("127.0.0.1", port, b"")] * 3, 100, 0, 20) == (b"", b"", b"")
    answer = await uwsgi_async.send_message(f"127.0.0.1:{port}", 100, 0, b"", 20)
    assert answer is not None
    assert [chunk async for chunk in answer] == []


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["address", "router"])
async def test_a_request_is_handed_on_to_real_uwsgi(oracle: tuple[Running, str], form: str) -> None:
    address = f"127.0.0.1:{oracle[0].uwsgi}"

    async def app(environ: Any, start_response: Any) -> Any:
        if form == "address":
            return await uwsgi_async.route(address)
        assert await uwsgi_async.route("uwsgi", f"{address},0,0") == 2
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/a?b=c", method="POST", headers="X-Sent: x\r\n", body=b"2" * 200_000)
    assert (answer.status, answer.headers["x-seen"]) == (201, "yes")
    assert json.loads(answer.body) == [["POST", "/a", "b=c", "x", "200000"], 200_000, 200_000 * ord("2")]


@pytest.mark.anyio
async def test_real_uwsgi_is_a_fastcgi_application(oracle: tuple[Running, str], tmp_path: Path) -> None:
    with file_with(tmp_path / "body", b"3" * 200_000) as file:
        answer = await uwsgi_async.fcgi(oracle[1], {**VARS, "CONTENT_LENGTH": "200000"}, file.fileno(), 200_000)
        data = b"".join([chunk async for chunk in answer])
    assert split(data) == ("201 Created", [["POST", "/a", "b=c", "x", "200000"], 200_000, 200_000 * ord("3")])


@pytest.mark.parametrize("name", ["oracle", "ours"])
def test_alarms_act_the_same(name: str, tmp_path: Path) -> None:
    require()
    told = tmp_path / "told"
    alarms = [f"keep cmd:cat >> {told}", "note log:attention", "tidy signal:17"]
    words = [word for alarm in alarms for word in ("--alarm", alarm)]
    with started(name, "messages.py", tmp_path, *words) as server:
        raised = [
            ["keep", "first\n"],
            ["keep", "first\n"],
            ["note", "a line"],
            ["tidy", "tidy up"],
            ["none", "x"],
        ]  # uWSGI drops messages of one byte
        seen = server.running.request("POST", "/alarm", json.dumps(raised).encode())
        assert seen.status == 201
        assert server.lines(1) == ["signal 17"]
        server.running.log_until(lambda log: re.search(r"ALARM: attention a line$", log, re.MULTILINE))
        server.running.request("POST", "/alarm", json.dumps([["keep", "second\n"]]).encode())
        server.running.log_until(lambda _log: (told.exists() and b"second\n" in told.read_bytes()) or None)
        assert sorted(told.read_bytes().splitlines()) == [b"first", b"second"]
    assert os.environ.get("RAN") is None
