"""What an app changes while the instance runs is changed in all of its processes."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import connect
from tests.command import Process, server
from uwsgi_async.cores.backlog import backlog
from uwsgi_async.errors import NoInstanceError
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.options.build import build
from uwsgi_async.wire.uwsgi import encode_packet

# --- the numbers ------------------------------------------------------------------------------------------------


@pytest.fixture
def two() -> Iterator[tuple[DynamicOptions, DynamicOptions]]:
    """The same numbers, as two processes have them."""
    options = build(max_requests=1000, log_slow=7, log_big=1 << 40, harakiri=2.5)
    one = DynamicOptions.create(options)
    other = DynamicOptions(os.dup(one.fd), options)
    yield one, other
    one.close()
    other.close()


def test_they_begin_as_the_options_are(two: tuple[DynamicOptions, DynamicOptions]) -> None:
    _, other = two
    found = [other.get(number) for number in (0, 1, 2, 5, 10, 13, 15, 200)]
    assert found == [1, 1000, 30, 2, 7, (1 << 31) - 1, 100, 0]
    assert other.applied() is other.options


@pytest.mark.parametrize(
    ("number", "value", "part", "field", "expected"),
    [
        (0, 0, "log", "disable_logging", True),
        (1, 5, "process", "max_requests", 5),
        (2, 7, "cores", "socket_timeout", 7.0),
        (5, 0, "cores", "harakiri", 0.0),
        (5, -3, "cores", "harakiri", 0.0),
        (9, 1, "log", "log_zero", True),
        (10, 100, "log", "log_slow", 100),
        (11, 1, "log", "log_4xx", True),
        (12, 1, "log", "log_5xx", True),
        (13, 9, "log", "log_big", 9),
        (14, 1, "log", "log_sendfile", True),
        (19, 60, "process", "max_worker_lifetime", 60.0),
        (20, 60, "process", "min_worker_lifetime", 60.0),
        (3, 1, "log", "memory_report", True),
        (21, 1, "log", "log_ioerror", True),
    ],
)
def test_a_number_changes_its_option_everywhere_and_no_other(
    two: tuple[DynamicOptions, DynamicOptions], number: int, value: int, part: str, field: str, expected: object
) -> None:
    one, other = two
    one.set(number, value)
    for each in (one, other):
        changed = each.applied()
        assert getattr(getattr(changed, part), field) == expected
        assert each.applied() is changed
        one_part = getattr(each.options, part)
        assert [name for name in one_part.__slots__ if getattr(one_part, name) != getattr(getattr(changed, part), name)]
        assert changed.app is each.options.app


def test_a_process_that_begins_later_sees_what_was_changed_before(two: tuple[DynamicOptions, DynamicOptions]) -> None:
    one, _ = two
    one.set(1, 5)
    late = DynamicOptions(os.dup(one.fd), one.options)
    assert late.applied().process.max_requests == 5
    late.close()


def test_a_warning_is_seen_by_all(two: tuple[DynamicOptions, DynamicOptions]) -> None:
    one, other = two
    assert other.warning == b""
    one.warning = b"x" * 80
    assert other.warning == b"x" * 80
    one.warning = b"short"
    assert other.warning == b"short"


# --- the functions ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_functions_refuse_what_is_no_number() -> None:
    async def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    async with uwsgi_async.run(app, http="127.0.0.1:0"):
        for wrong in (-1, 256):
            with pytest.raises(ValueError, match="0 to 255"):
                uwsgi_async.get_option(wrong)
            with pytest.raises(ValueError, match="0 to 255"):
                uwsgi_async.set_option(wrong, 1)
        with pytest.raises(ValueError, match="expected a value from"):
            uwsgi_async.set_option(1, 1 << 31)
        with pytest.raises(TypeError):
            uwsgi_async.set_option(1, 1.5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            uwsgi_async.set_warning_message(b"x")  # type: ignore[arg-type]
        assert uwsgi_async.setoption(200, 17) == 17
        assert uwsgi_async.getoption(200) == 17
    with pytest.raises(NoInstanceError):
        uwsgi_async.get_option(0)


@pytest.mark.anyio
async def test_a_limit_that_is_changed_counts_for_the_next_request() -> None:
    async def app(environ: Any, start_response: Any) -> list[bytes]:
        uwsgi_async.set_option(5, 1)
        await anyio.sleep(20)
        return []

    async with uwsgi_async.run(app, http="127.0.0.1:0") as running:
        async with connect(running) as client:
            assert (await client.get()).status == 504


@pytest.mark.anyio
async def test_a_ping_is_answered_with_the_warning_cut_to_80_bytes(caplog: pytest.LogCaptureFixture) -> None:
    async def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    async with uwsgi_async.run(app, socket="127.0.0.1:0", uwsgi_allow="ping") as running:
        port = int(running.addresses[0].rpartition(":")[2])
        assert await ping(port) == encode_packet(100, 1, b"")
        assert uwsgi_async.set_warning_message("full") is True
        assert await ping(port) == encode_packet(100, 1, b"full")
        uwsgi_async.set_warning_message("\xe4" * 50)
        assert "- warning message must be max 80 chars, it will be truncated -" in caplog.text
        assert await ping(port) == encode_packet(100, 1, ("\xe4" * 40).encode())


async def ping(port: int) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(encode_packet(100, 0, b""))
        data = b""
        try:
            while True:
                data += await stream.receive()
        except anyio.EndOfStream:
            return data


# --- several processes ------------------------------------------------------------------------------------------

APP = """
import json, os, uwsgi

def application(environ, start_response):
    name, *words = environ["PATH_INFO"].strip("/").split("/")
    result = getattr(uwsgi, name)(*[int(word) for word in words])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([result, uwsgi.worker_id()]).encode()]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def ask(process: Process, path: str) -> Any:
    return json.loads(process.get(path))


def test_the_log_is_switched_off_and_on_in_all_workers(place: Path) -> None:
    """A worker is known to log, or not, when a message of the same process stands behind the request in the log."""
    with server("app.py", "--processes", "2", "--log-format", "LINE %(wid) %(uri) .", cwd=place) as process:
        ask(process, "/set_option/0/0")
        process.wait_until(lambda: {silent(process) for _ in range(4)} >= {1, 2})
        ask(process, "/set_option/0/1")
        process.wait_until(lambda: ask(process, "/worker_id") and lines(process, "/worker_id") >= {"1", "2"})


def silent(process: Process) -> int:
    """Ask; return the number of the worker if it has not logged the request, else 0."""
    before = process.output.count("/get_option/0 ")
    answer, worker = ask(process, "/get_option/0")
    ask(process, "/log_this_request")  # its line stands behind the one that may be there
    return worker if answer == 0 and process.output.count("/get_option/0 ") == before else 0


def lines(process: Process, uri: str) -> set[str]:
    return set(re.findall(rf"LINE (\d) {uri} \.", process.output))


def test_a_worker_is_replaced_after_a_number_of_requests_that_was_set_while_it_ran(place: Path) -> None:
    with server("app.py", "--master", "--min-worker-lifetime", "0", cwd=place) as process:
        ask(process, "/set_option/1/3")
        for _ in range(2):
            ask(process, "/worker_id")
        process.wait_for("option max-requests")


def test_a_reload_begins_with_the_configuration_again(place: Path) -> None:
    with server("app.py", "--master", cwd=place) as process:
        ask(process, "/set_option/200/5")
        ask(process, "/reload")
        process.wait_for("reloaded in")
        process.wait_until(lambda: ask(process, "/get_option/200")[0] == 0)


@pytest.mark.parametrize("how", [(), ("--master",)], ids=["alone", "worker"])
def test_sorry_i_need_to_block_and_set_user_harakiri_need_a_master(place: Path, how: tuple[str, ...]) -> None:
    with server("app.py", *how, cwd=place) as process:
        assert ask(process, "/sorry_i_need_to_block")[0] is (True if how else None)
        assert ask(process, "/set_user_harakiri/0")[0] is None
        if not how:
            process.wait_for("!!! unable to set user harakiri without the master process !!!")


# --- the queue of connections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_the_kernel_tells_how_many_connections_wait(tmp_path: Path, family: int) -> None:
    address: Any = {
        socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0), socket.AF_UNIX: str(tmp_path / "socket")
    }[family]  # fmt: skip
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen(9)
        clients = [socket.socket(family) for _ in range(3)]
        for client in clients:
            client.connect(listener.getsockname())
        assert backlog(listener) == (3, 9)
        listener.accept()[0].close()
        assert backlog(listener) == (2, 9)
        for client in clients:
            client.close()


def test_a_socket_that_is_closed_has_no_queue() -> None:
    listener = socket.socket()
    listener.close()
    assert backlog(listener) == (0, 0)


@pytest.mark.anyio
async def test_listen_queue_is_by_the_number_of_the_socket() -> None:
    async def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    async with uwsgi_async.run(app, http=["127.0.0.1:0", "127.0.0.1:0"]):
        assert uwsgi_async.listen_queue() == uwsgi_async.listen_queue(1) == 0
        for wrong in (2, -1):
            with pytest.raises(ValueError, match=f"unable to find socket {wrong}"):
                uwsgi_async.listen_queue(wrong)
