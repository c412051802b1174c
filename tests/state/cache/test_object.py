"""The cache as users of uwsgi_async have it: functions and objects, here and at other instances."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import greenback
import pytest

import uwsgi_async
from tests.client import get
from tests.command import ROOT
from uwsgi_async.errors import (
    AddressError,
    DisconnectedError,
    NotConfiguredError,
    PeerTimeoutError,
    UsageError,
    WouldBlockLoopError,
)

pytestmark = pytest.mark.anyio

CACHES = ("name=a,items=50", "name=b,items=50")


async def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"a request"]


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[str]:
    """An instance with two caches; gives the address of its socket."""
    path = str(tmp_path / "object.sock")
    async with uwsgi_async.run(app, socket=path, cache2=CACHES):
        yield path


# --- the functions ----------------------------------------------------------------------------------------------------


async def test_functions_work_in_any_task_while_the_instance_runs(tmp_path: Path) -> None:
    assert uwsgi_async.cache_get("k") is None
    async with running(tmp_path):
        assert uwsgi_async.cache_set("k", "v") is True
        assert uwsgi_async.cache_get("k", "a") == b"v"
        assert uwsgi_async.cache_get("k", "b") is None
        assert uwsgi_async.cache_keys() == [b"k"]
    assert uwsgi_async.cache_get("k") is None


async def test_an_unknown_cache_is_a_miss(tmp_path: Path) -> None:
    async with running(tmp_path):
        assert uwsgi_async.cache_get("k", "nowhere") is None
        assert uwsgi_async.cache_update("k", "v", 0, "nowhere") is None
        assert uwsgi_async.cache_num("k", "nowhere") == 0
        with pytest.raises(ValueError, match="no local uWSGI cache available"):
            uwsgi_async.cache_keys("nowhere")


async def test_a_cache_of_another_instance_is_asked_where_waiting_is_possible(tmp_path: Path) -> None:
    async with running(tmp_path) as path:
        name = f"b@{path}"
        with pytest.raises(WouldBlockLoopError, match=r"await uwsgi_async\.remote_cache\('b@.*'\)\.get\("):
            uwsgi_async.cache_get("k", name)
        await greenback.ensure_portal()
        assert uwsgi_async.cache_update("k", "v", 100, name) is True
        assert uwsgi_async.cache_get("k", name) == b"v"
        assert uwsgi_async.cache_inc("n", 3, 0, name) is True
        assert uwsgi_async.cache_num("n", "b") == 3
        assert uwsgi_async.cache_exists("k", name) is True
        assert uwsgi_async.cache_del("k", name) is True
        assert uwsgi_async.cache_clear(name) is True
        assert uwsgi_async.cache_get("k", "@/no/where") is None
        assert uwsgi_async.cache_get("k", "b@nonsense") is None


async def test_a_thread_waits_for_another_instance(tmp_path: Path) -> None:
    async with running(tmp_path) as path:
        uwsgi_async.cache_update("k", "v", 0, "b")
        value = await anyio.to_thread.run_sync(uwsgi_async.cache_get, "k", f"b@{path}")
        assert value == b"v"


async def test_sync_apps_reach_another_instance_from_their_cores(tmp_path: Path) -> None:
    def sync_app(environ: Any, start_response: Any) -> list[bytes]:
        import uwsgi

        start_response("200 OK", [])
        return [repr((uwsgi.cache_update("k", "v", 0, name), uwsgi.cache_get("k", name))).encode()]

    name = f"b@{tmp_path / 'other.sock'}"
    path = str(tmp_path / "other.sock")
    async with uwsgi_async.run(sync_app, http="127.0.0.1:0", socket=path, cache2=CACHES) as server:
        assert (await get(server, "/")).body == b"(True, b'v')"


async def test_without_an_event_loop_a_function_runs_one(tmp_path: Path) -> None:
    """As it does while an app is imported."""
    async with running(tmp_path) as path:
        uwsgi_async.cache_update("k", "v", 0, "b")
        program = "import sys, uwsgi_async; print(uwsgi_async.cache_get('k', sys.argv[1]))"
        done = await anyio.run_process([sys.executable, "-c", program, f"b@{path}"], cwd=ROOT)
    assert done.stdout.decode().strip() == "b'v'"


# --- the object -------------------------------------------------------------------------------------------------------


async def test_values_have_the_type_of_the_cache(tmp_path: Path) -> None:
    texts = uwsgi_async.cache("a", str)  # before the instance is there, as at import
    async with running(tmp_path):
        numbers = uwsgi_async.cache("b", int)
        objects, pickles = uwsgi_async.cache("b", json), uwsgi_async.cache("b", pickle)
        assert texts.set("k", "é") is True
        assert (texts.get("k"), uwsgi_async.cache("a").get("k")) == ("é", "é".encode())
        assert numbers.update("n", -7)
        assert numbers.inc("n", 10)
        assert numbers.get("n") == 3
        assert objects.update("o", {"a": [1, None]})
        assert objects.get("o") == {"a": [1, None]}
        assert pickles.update("p", {1, 2})
        assert pickles.get("p") == {1, 2}
        for cache, wrong in ((texts, b"x"), (numbers, "x"), (uwsgi_async.cache("a"), "x")):
            with pytest.raises(TypeError, match="this cache holds"):
                cache.set("k", wrong)  # type: ignore[arg-type]


async def test_the_object_speaks_in_bools_and_defaults(tmp_path: Path) -> None:
    async with running(tmp_path):
        cache = uwsgi_async.cache("a")
        assert cache.get("k", b"default") == b"default"
        assert (cache.set("k", b"1"), cache.set("k", b"2")) == (True, False)
        assert "k" in cache
        assert len(cache) == 1
        assert cache.keys() == [b"k"]
        assert (cache.delete("k"), cache.delete("k")) == (True, False)
        assert (cache.dec("n"), cache.mul("n", 8), cache.div("n", 3)) == (True, True, True)
        assert uwsgi_async.cache_num("n") == -2
        cache.clear()
        assert "n" not in cache


async def test_statistics_and_repr_are_live(tmp_path: Path) -> None:
    async with running(tmp_path):
        cache = uwsgi_async.cache("a", str)
        cache.set("k", "v")
        cache.get("k")
        cache.get("none")
        assert repr(cache) == "<Cache 'a' of str: 1 of 49 items, 1 hits, 1 misses>"
        seen = cache.statistics()
        assert (seen.name, seen.items, seen.hits, seen.misses, seen.blocksize) == ("a", 1, 1, 1, 65536)
    assert repr(cache) == "<Cache 'a' of str, not there>"


async def test_the_stats_server_tells_of_each_cache(tmp_path: Path) -> None:
    async with running(tmp_path):
        uwsgi_async.cache("a", str).set("k", "v")
        uwsgi_async.cache("a", str).get("none")
        told = {each["name"]: each for each in uwsgi_async.statistics().sections["caches"]}
    assert (told["a"]["items"], told["a"]["miss"], told["a"]["max_items"]) == (1, 1, 50)


async def test_what_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotConfiguredError, match=r"no instance with caches runs.*the option cache2 makes one"):
        uwsgi_async.cache("a").get("k")
    async with running(tmp_path):
        with pytest.raises(NotConfiguredError, match=r"there is no cache 'c', only a, b: the option cache2 makes one"):
            uwsgi_async.cache("c").get("k")
    with pytest.raises(UsageError, match=r"use remote_cache\('a@x:1'\)"):
        uwsgi_async.cache("a@x:1")
    with pytest.raises(UsageError, match="expected bytes, str, int, or what has dumps and loads"):
        uwsgi_async.cache("a", float)
    with pytest.raises(UsageError, match="expected the name of a cache of another instance"):
        uwsgi_async.remote_cache("a")
    with pytest.raises(AddressError):
        uwsgi_async.remote_cache("a@fd://3")


# --- one computes -----------------------------------------------------------------------------------------------------


async def test_one_core_computes_while_the_others_wait(tmp_path: Path) -> None:
    async with running(tmp_path):
        cache = uwsgi_async.cache("a", str)
        computed: list[str] = []
        values: list[str] = []

        async def compute() -> str:
            computed.append("once")
            await anyio.sleep(0.02)
            return "value"

        async def want() -> None:
            values.append(await cache.get_or_set("k", compute))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(want)
        assert (computed, values) == (["once"], ["value"] * 20)
        assert await cache.get_or_set("k", lambda: "other") == "value"
        assert await cache.get_or_set("plain", lambda: "a plain function") == "a plain function"


async def test_when_one_fails_the_next_computes(tmp_path: Path) -> None:
    async with running(tmp_path):
        cache = uwsgi_async.cache("a", str)
        outcomes: list[object] = []
        calls = 0

        async def compute() -> str:
            nonlocal calls
            calls += 1
            await anyio.lowlevel.checkpoint()
            if calls == 1:
                raise LookupError("the first fails")
            return "second"

        async def want() -> None:
            try:
                outcomes.append(await cache.get_or_set("k", compute))
            except LookupError as error:
                outcomes.append(str(error))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(want)
        assert outcomes == ["the first fails", "second", "second"]


async def test_a_cancelled_computation_leaves_the_turn_to_others(tmp_path: Path) -> None:
    async with running(tmp_path):
        cache = uwsgi_async.cache("a", str)
        with anyio.move_on_after(0.02):
            await cache.get_or_set("k", anyio.sleep_forever)
        with anyio.fail_after(5):
            assert await cache.get_or_set("k", lambda: "value") == "value"


async def test_keys_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with running(tmp_path):
        cache = uwsgi_async.cache("a", str)

        async def outer() -> str:
            return "outer " + await cache.get_or_set("inner", lambda: "inner")

        with anyio.fail_after(5):
            assert await cache.get_or_set("outer", outer) == "outer inner"


COMPUTING = """
import json, os, sys, anyio, uwsgi_async
from uwsgi_async.api.cache import using
from uwsgi_async.state.cache.caches import Caches

async def compute():
    print("computing", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), 9)
    sys.stdin.readline()
    return "by the other process"

with using(Caches.attach(json.loads(sys.argv[1]))):
    print(anyio.run(uwsgi_async.cache("a", str).get_or_set, "k", compute), flush=True)
"""


@pytest.mark.parametrize("end", ["live", "die"])
async def test_processes_wait_for_each_other_and_for_no_dead_one(tmp_path: Path, end: str) -> None:
    from tests.state.cache.making import made
    from uwsgi_async.api.cache import using

    with made(*CACHES) as caches, using(caches):
        words = [sys.executable, "-c", COMPUTING, json.dumps(caches.described()), end]
        process = await anyio.to_thread.run_sync(
            lambda: subprocess.Popen(
                words, cwd=ROOT, pass_fds=caches.fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            assert await anyio.to_thread.run_sync(process.stdout.readline) == "computing\n"
            values: list[str] = []

            async def want() -> None:
                values.append(await uwsgi_async.cache("a", str).get_or_set("k", lambda: "by this one"))

            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(want)
                    if end == "live":
                        await anyio.sleep(0.02)
                        assert values == []
                        process.stdin.write("\n")
                        process.stdin.flush()
            await anyio.to_thread.run_sync(process.wait)
    assert values == ["by the other process" if end == "live" else "by this one"]


# --- another instance's -----------------------------------------------------------------------------------------------


async def test_a_remote_object_has_the_same_methods(tmp_path: Path) -> None:
    async with running(tmp_path) as path:
        cache = uwsgi_async.remote_cache(f"b@{path}", str)
        assert await cache.get("k", "default") == "default"
        assert (await cache.set("k", "1"), await cache.set("k", "2")) == (True, False)
        assert await cache.update("k", "é", 100)
        assert (await cache.get("k"), await cache.exists("k")) == ("é", True)
        assert (await cache.delete("k"), await cache.delete("k")) == (True, False)
        numbers = uwsgi_async.remote_cache(f"b@{path}", int)
        assert await numbers.inc("n", 7)
        assert await numbers.dec("n", 1)
        assert await numbers.mul("n", 5)
        assert await numbers.div("n", 4)
        assert await numbers.get("n") == 7
        assert await cache.clear()
        assert repr(cache) == f"<RemoteCache b@{path} of str>"


async def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DisconnectedError, match="cannot be reached"):
        await uwsgi_async.remote_cache(f"@{tmp_path}/none").get("k")


async def test_a_late_answer_is_told_in_time(tmp_path: Path) -> None:
    path = str(tmp_path / "silent")
    listener = await anyio.create_unix_listener(path)
    async with listener:
        with anyio.fail_after(5):
            with pytest.raises(PeerTimeoutError, match=r"did not answer within 0\.05 s"):
                await uwsgi_async.remote_cache(f"@{path}", timeout=0.05).get("k")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),  # the beginning of a packet that never comes
        (b"\x64\x00\x00\x01", "PeerError"),
        (b"\x6f\x00\x00\x11", None),
        (b"\x6f\x0c\x00\x11\x06\x00status\x02\x00no", None),
        (b"\x6f\x17\x00\x11\x06\x00status\x02\x00ok\x04\x00size\x03\x00999", "DisconnectedError"),
        (b"\x6f\x1f\x00\x11\x06\x00status\x02\x00ok\x04\x00size\x0b\x0099999999999", "PeerError"),
        (b"\x6f\xff", None),
        (b"", None),
    ],
)
async def test_a_strange_answer_is_a_miss_or_an_error(tmp_path: Path, reply: bytes, error: str | None) -> None:
    path = str(tmp_path / "strange")
    listener = await anyio.create_unix_listener(path)

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(reply)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        cache = uwsgi_async.remote_cache(f"@{path}", timeout=5)
        if error is None:
            assert await cache.get("k") is None
        else:
            with pytest.raises(getattr(uwsgi_async.errors, error)):
                await cache.get("k")
        tasks.cancel_scope.cancel()


def test_threads_may_use_it_at_once() -> None:
    from tests.state.cache.making import made
    from uwsgi_async.api.cache import using

    with made(*CACHES) as caches, using(caches):

        def work() -> None:
            for _ in range(300):
                uwsgi_async.cache_inc("n")
                uwsgi_async.cache_get("n")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert uwsgi_async.cache_num("n") == 1200
