"""Mules of an instance that is one process: threads and tasks, with the same functions as under a master."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from uwsgi_async.errors import MuleError, OptionError, WouldBlockLoopError
from uwsgi_async.options.build import build

pytestmark = pytest.mark.anyio


class Notes:
    """What mules have got, and by which thread."""

    def __init__(self) -> None:
        self.all: list[tuple[int, object]] = []
        self.threads: set[str] = set()

    def add(self, what: object) -> None:
        self.threads.add(threading.current_thread().name)
        self.all.append((uwsgi_async.mule_id(), what))

    async def wait_for(self, count: int) -> list[tuple[int, object]]:
        with anyio.fail_after(10):
            while len(self.all) < count:  # noqa: ASYNC110 - threads write it too
                await anyio.sleep(0.005)
        return self.all


notes = Notes()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    notes.all.clear()
    notes.threads.clear()


@contextmanager
def module_of_mules(**functions: Any) -> Iterator[None]:
    """Let ``mule="works:..."`` find these functions."""
    module = ModuleType("works")
    vars(module).update(functions)
    sys.modules["works"] = module
    try:
        yield
    finally:
        del sys.modules["works"]


async def app(_environ: object, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


@asynccontextmanager
async def served(**options: Any) -> Any:
    async with uwsgi_async.run(app, http="127.0.0.1:0", **options) as server:
        yield server


async def test_a_mule_without_a_program_gives_messages_to_the_hooks_in_a_thread_of_its_own() -> None:
    async def second(message: bytes) -> None:
        notes.add(b"second " + message)

    async with served(mules=2, farm="web:1,2"):
        uwsgi: Any = sys.modules["uwsgi"]
        uwsgi.mule_msg_hook = notes.add
        uwsgi_async.install_mule_msg_hook(second)
        assert uwsgi_async.mule_msg("one", 1)
        assert await notes.wait_for(2) == [(1, b"one"), (1, b"second one")]
        assert uwsgi.mule_msg(b"two", 2)
        assert uwsgi_async.farm_msg("web", "farm")
        assert uwsgi_async.mule_msg("any")
        await notes.wait_for(8)
        assert {b"two", b"farm", b"any"} < {what for _, what in notes.all}
        assert {mule for mule, _ in notes.all} <= {1, 2}
        assert uwsgi_async.mule_id() == 0
    assert {"mule 1", "mule 2"} <= notes.threads


async def test_a_plain_program_has_a_thread_and_ends_when_it_asks_for_the_next_message() -> None:
    def plain() -> None:
        uwsgi: Any = sys.modules["uwsgi"]
        while True:
            notes.add(uwsgi.mule_get_msg())
            uwsgi.async_sleep(0.001)

    with module_of_mules(plain=plain):
        async with served(mule="works:plain"):
            uwsgi_async.mule_msg("a", 1)
            uwsgi_async.mule_msg("b", 1)
            assert await notes.wait_for(2) == [(1, b"a"), (1, b"b")]
    assert notes.threads == {"mule 1"}


async def test_an_async_program_is_a_task_and_several_tasks_of_it_take_messages() -> None:
    ended = list[bool]()

    async def take() -> None:
        while True:
            notes.add(await uwsgi_async.mule_get_msg())

    async def program() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                tasks.start_soon(take)
                tasks.start_soon(anyio.to_thread.run_sync, in_thread)
        finally:
            ended.append(True)

    def in_thread() -> None:
        uwsgi: Any = sys.modules["uwsgi"]
        notes.add(uwsgi.farm_get_msg())

    with module_of_mules(program=program):
        async with served(mule="works:program", farm="web:1"):
            for number in range(10):
                uwsgi_async.mule_msg(str(number), 1)
            await notes.wait_for(10)
            uwsgi_async.farm_msg("web", "farm")
            await notes.wait_for(11)
    assert sorted(what for _, what in notes.all) == sorted([*(str(number).encode() for number in range(10)), b"farm"])  # type: ignore[type-var]
    assert {mule for mule, _ in notes.all} == {1}
    assert ended == [True]


async def test_a_message_that_a_mule_has_is_finished_before_the_end() -> None:
    begun = anyio.Event()

    async def program() -> None:
        while True:
            message = await uwsgi_async.mule_get_msg()
            begun.set()
            await anyio.sleep(0.05)
            notes.add(message)

    with module_of_mules(program=program):
        async with served(mule="works:program"):
            uwsgi_async.mule_msg("work", 1)
            uwsgi_async.mule_msg("never taken", 1)
            with anyio.fail_after(10):
                await begun.wait()
    assert notes.all == [(1, b"work")]


async def test_what_does_not_end_within_the_grace_time_is_cancelled() -> None:
    async def program() -> None:
        message = await uwsgi_async.mule_get_msg()
        notes.add(message)
        try:
            await anyio.sleep_forever()
        finally:
            notes.add("cancelled")

    with module_of_mules(program=program):
        async with served(mule="works:program", grace=0.1):
            uwsgi_async.mule_msg("work", 1)
            await notes.wait_for(1)
    assert notes.all == [(1, b"work"), (1, "cancelled")]


async def test_a_pooled_thread_that_has_had_a_message_does_not_hold_up_the_end() -> None:
    async def program() -> None:
        uwsgi: Any = sys.modules["uwsgi"]
        notes.add(await anyio.to_thread.run_sync(uwsgi.mule_get_msg))
        await anyio.sleep_forever()

    with module_of_mules(program=program):
        async with served(mule="works:program"):
            uwsgi_async.mule_msg("work", 1)
            assert await notes.wait_for(1) == [(1, b"work")]


async def test_a_script_runs_and_post_fork_hook_is_called_in_the_mule(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import uwsgi, tests.instance.test_mules_alone as here\n"
        "assert __name__ == '__main__'\n"
        "while True: here.notes.add(uwsgi.mule_get_msg())\n"
    )
    before = sys.modules["__main__"]
    async with served(mule=str(script)):
        uwsgi_async.mule_msg("hello")
        assert await notes.wait_for(1) == [(1, b"hello")]
    assert sys.modules["__main__"] is before


async def test_mules_and_farms_are_targets_of_signals_and_handlers_run_in_the_mule() -> None:
    async def handle(number: int) -> None:
        notes.add(number)

    async with served(mules=2, farm="web:2"):
        uwsgi_async.register_signal(1, "mule1", notes.add)
        uwsgi_async.register_signal(2, "mules", handle)
        uwsgi_async.register_signal(3, "farm_web", notes.add)
        uwsgi_async.register_signal(4, "", notes.add)
        for number in (1, 2, 3, 4):
            await uwsgi_async.signal(number)
        assert sorted(await notes.wait_for(5)) == [(0, 4), (1, 1), (1, 2), (2, 2), (2, 3)]  # type: ignore[type-var]


async def test_a_signal_ends_the_wait_of_a_mule_that_asks_for_it() -> None:
    async def program() -> None:
        notes.add("waits")
        while True:
            notes.add(await uwsgi_async.mule_get_msg(signals=False))

    with module_of_mules(program=program):
        async with served(mule="works:program"):
            uwsgi_async.register_signal(1, "mule1", notes.add)
            await notes.wait_for(1)
            await uwsgi_async.signal(1)
            assert (await notes.wait_for(3))[1:] == [(1, 1), (1, None)]


async def test_a_program_that_fails_is_logged_and_run_again(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        notes.add("begins")
        raise RuntimeError("no luck")

    with module_of_mules(fails=fails):
        async with served(mule="works:fails"):
            await notes.wait_for(2)
    assert "mule 1 ends because of an error" in caplog.text
    assert "mule 1 has ended: starting it again" in caplog.text


async def test_an_async_hook_over_mule_harakiri_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def hook(message: bytes) -> None:
        notes.add(message)
        if message == b"long":
            await anyio.sleep_forever()

    async with served(mules=1, mule_harakiri=0.05):
        uwsgi_async.install_mule_msg_hook(hook)
        uwsgi_async.mule_msg("long")
        uwsgi_async.mule_msg("next")
        await notes.wait_for(2)
    assert "it took more than 0.05 s (mule-harakiri)" in caplog.text


async def test_the_statistics_tell_of_mules_in_one_process_too() -> None:
    async with served(mules=1, farm="web:1"):
        uwsgi_async.install_mule_msg_hook(notes.add)
        uwsgi_async.mule_msg("hello")
        await notes.wait_for(1)
        sections = uwsgi_async.statistics().sections
        assert (sections["mules"][0]["messages"], sections["mules"][0]["farms"]) == (1, ["web"])


async def test_the_blocking_form_on_the_event_loop_names_the_awaitable() -> None:
    async def program() -> None:
        uwsgi: Any = sys.modules["uwsgi"]
        try:
            uwsgi.mule_get_msg()
        except WouldBlockLoopError as error:
            notes.add(str(error))
        await uwsgi_async.mule_get_msg()

    with module_of_mules(program=program):
        async with served(mule="works:program"):
            assert "await uwsgi_async.mule_get_msg" in str((await notes.wait_for(1))[0][1])


async def test_without_mules_messages_are_an_error_that_names_the_option() -> None:
    async with served():
        with pytest.raises(MuleError, match=r"no mule configured.*option mule"):
            uwsgi_async.mule_msg("x")
        assert uwsgi_async.farm_msg("web", "x") is False
        with pytest.raises(MuleError, match="only in a mule"):
            await uwsgi_async.mule_get_msg()
    with pytest.raises(MuleError):
        uwsgi_async.mule_msg("x")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mule": "script"}, "work.py or package.module:callable"),
        ({"farm": "web:1"}, "farm web: there is no mule 1, only 0"),
        ({"farm": "web", "mules": 1}, "expected text such as web:1,2"),
        ({"farm": ["web:1", "web:1"], "mules": 1}, "there are two farms of the name web"),
    ],
)
async def test_options_that_cannot_be_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        build(http_socket="127.0.0.1:0", **options)
