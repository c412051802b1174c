"""What an app may hang on its processes and requests: hooks, names, functions for packets."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

import uwsgi_async
from tests.client import get
from tests.command import server
from uwsgi_async.api import naming
from uwsgi_async.instance.hooks import with_hook
from uwsgi_async.instance.names import MASTER, name_process
from uwsgi_async.options.build import build
from uwsgi_async.wire.uwsgi import encode_packet

HOOKS = """
import asyncio, os, uwsgi

{kind} forked():
    print("hello from", os.getpid(), flush=True)
uwsgi.post_fork_hook = forked

{kind} ending():
    print("bye from", os.getpid(), flush=True)
uwsgi.atexit = ending

{kind} after():
    print("after request", uwsgi.request_id(), uwsgi.get_logvar("name"), flush=True)
    raise ValueError("in the hook")
uwsgi.after_req_hook = after

def application(environ, start_response):
    uwsgi.set_logvar("name", "value")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answer"]
"""
BOTH = pytest.mark.parametrize("how", [(), ("--master",)], ids=["alone", "worker"])


@BOTH
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_hooks_run_and_their_errors_end_nothing(tmp_path: Path, how: tuple[str, ...], kind: str) -> None:
    (tmp_path / "app.py").write_text(HOOKS.format(kind=kind))
    with server("app.py", *how, cwd=tmp_path) as process:
        pid = process.wait_for(r"hello from (\d+)")[1]
        assert process.get() == b"answer"
        assert process.get() == b"answer"
        process.wait_for(r"after request 0 b'value'\n(.|\n)*ValueError: in the hook\n(.|\n)*GET / => generated 6 bytes")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_for(f"bye from {pid}")


def test_a_hook_that_raises_after_the_fork_leaves_the_worker_serving(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        HOOKS.format(kind="def").replace("uwsgi.post_fork_hook = forked", "uwsgi.post_fork_hook = lambda: 1 / 0")
    )
    with server("app.py", "--master", cwd=tmp_path) as process:
        process.wait_for(r"uwsgi\.post_fork_hook raised an error\n(.|\n)*ZeroDivisionError")
        assert process.get() == b"answer"


class Module:
    """Stands for the uwsgi module."""


@pytest.mark.anyio
@pytest.mark.parametrize("threads", [0, 2])
async def test_the_hook_sees_the_response_complete_and_may_wait(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    called = threading.Event()

    def app(environ, start_response):
        import uwsgi

        def after() -> None:
            uwsgi.async_sleep(0.001)
            request = uwsgi_async.api.request.the_request()
            seen.append((request.response.complete, threading.current_thread() is threading.main_thread()))
            called.set()

        hook.append(after)
        start_response("200 OK", [])
        return iter([b"a", b"b"])

    hook: list[object] = []
    module = Module()
    module.after_req_hook = lambda: hook[-1]()
    monkeypatch.setattr(
        "uwsgi_async.instance.server.with_hook",
        lambda handler, _module, *, in_thread: with_hook(handler, module, in_thread=in_thread),
    )
    async with uwsgi_async.run(app, http="127.0.0.1:0", threads=threads) as running:
        assert (await get(running)).body == b"ab"
        assert await anyio.to_thread.run_sync(called.wait, 10)
    assert seen == [(True, threads == 0)]


@pytest.mark.anyio
async def test_without_a_hook_nothing_stands_before_the_handler() -> None:
    async def handler(_request: object) -> None: ...

    assert with_hook(handler, Module(), in_thread=False) is handler


# --- fastfuncs ------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "bytes": lambda: b"raw",
    "a list": lambda: [b"a", b"b"],
    "nothing": lambda: None,
}


async def packet(running: uwsgi_async.Server, modifier1: int, modifier2: int) -> bytes:
    host, _, port = running.addresses[0].removeprefix("uwsgi://").rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(encode_packet(modifier1, modifier2, b""))
        data = b""
        try:
            while True:
                data += await stream.receive()
        except anyio.EndOfStream:
            return data


async def with_fastfunc(function: object, number: int = 7) -> bytes:
    async def app(environ, start_response):
        return []

    async with uwsgi_async.run(app, socket="127.0.0.1:0") as running:
        import uwsgi

        uwsgi.fastfuncs[7] = function
        assert uwsgi.has_hook(26) is True
        return await packet(running, 26, number)


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "answer"), [("bytes", b"raw"), ("a list", b"ab"), ("nothing", b"")])
async def test_a_fastfunc_answers_its_packet_with_bytes(kind: str, answer: bytes) -> None:
    assert await with_fastfunc(FUNCTIONS[kind]) == answer


@pytest.mark.anyio
async def test_a_fastfunc_may_be_async_and_a_generator() -> None:
    async def one() -> bytes:
        await checkpoint()
        return b"one"

    async def many():
        for number in range(3):
            await checkpoint()
            yield b"%d" % number

    assert await with_fastfunc(one) == b"one"
    assert await with_fastfunc(many) == b"012"


@pytest.mark.anyio
@pytest.mark.parametrize("number", [8, 255])
async def test_where_there_is_no_fastfunc_the_connection_is_closed(number: int) -> None:
    assert await with_fastfunc(lambda: b"x", number) == b""


@pytest.mark.anyio
async def test_a_fastfunc_that_raises_closes_the_connection() -> None:
    assert await with_fastfunc(lambda: 1 / 0) == b""
    assert await with_fastfunc(lambda: "text") == b""


@pytest.mark.anyio
async def test_has_hook_tells_what_is_served() -> None:
    assert uwsgi_async.has_hook(0) is None  # no instance runs

    async def app(environ, start_response):
        return []

    for allowed, served in ((), [0, 26]), (("ping", "rpc", "cache"), [0, 26, 100, 111, 173]):
        async with uwsgi_async.run(app, socket="127.0.0.1:0", uwsgi_allow=allowed):
            assert [number for number in range(-1, 300) if uwsgi_async.has_hook(number)] == served
    with pytest.raises(TypeError):
        uwsgi_async.has_hook("0")


# --- names ----------------------------------------------------------------------------------------------------

APP = """
import uwsgi

def application(environ, start_response):
    if environ["PATH_INFO"] == "/name":
        uwsgi.setprocname("chosen")
    start_response("200 OK", [])
    return [open("/proc/self/cmdline", "rb").read().strip(b"\\0 ")]
"""


def names(pids: set[int]) -> set[str]:
    return {Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ") for pid in pids}


@pytest.mark.parametrize(
    ("options", "master", "worker"),
    [
        ({}, None, None),
        ({"auto_procname": True}, "uWSGI master", "uWSGI worker 1"),
        ({"procname": "all", "procname_append": "."}, "all.", "all."),
        ({"procname": "all", "procname_master": "boss"}, "boss", "all"),
        ({"procname_master": "boss"}, "boss", "uWSGI worker 1"),
        ({"procname_prefix_spaced": "site", "procname": "w"}, "site w", "site w"),
        ({"procname_prefix": "site-"}, "site-uWSGI master", "site-uWSGI worker 1"),
    ],
)
def test_a_process_is_called_as_the_options_say(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, object], master: str | None, worker: str | None
) -> None:
    for role, expected in ((MASTER, master), ("uWSGI worker 1", worker)):
        names: list[str | None] = [None]
        monkeypatch.setattr(naming, "_setter", lambda names=names: names.append)
        name_process(build(**options).names, role)
        assert names[-1] == expected
    naming.set_affixes("", "")


def test_each_process_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server("app.py", "--processes", "2", "--auto-procname", cwd=tmp_path) as process:
        assert {"uWSGI master", "uWSGI worker 1", "uWSGI worker 2"} <= names(process.family())


def test_without_an_option_the_command_line_stays(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server("app.py", "--master", cwd=tmp_path) as process:
        assert any("uwsgi_async" in name and "--master" in name for name in names({process.popen.pid}))


@BOTH
def test_setprocname_names_the_process_with_what_stands_around_it(tmp_path: Path, how: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server("app.py", *how, "--procname-prefix", "pre-", cwd=tmp_path) as process:
        assert process.get("/name") == b"pre-chosen"


def test_without_setproctitle_the_short_name_is_set_and_the_way_out_is_told(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("cmdline", "comm"))
    (tmp_path / "setproctitle.py").write_text("raise ImportError")
    with server("app.py", "--procname", "a name that is long", "--pythonpath", ".", cwd=tmp_path) as process:
        assert process.get() == b"a name that is \n"
        assert re.search(r"pip install 'uwsgi-async\[procname\]'", process.output)
