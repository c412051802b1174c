"""The decorators of mules and farms, for plain functions and coroutine functions, with a master and in one process."""

from __future__ import annotations

import json
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.command import Process, server
from uwsgi_async import decorators
from uwsgi_async.api import mules
from uwsgi_async.decorators import forks, mulefunc, muleloop
from uwsgi_async.decorators.mules import mule_functions, mule_msg_dispatcher
from uwsgi_async.errors import MuleError
from uwsgi_async.mules.queues import MuleQueues
from uwsgi_async.options.build import build

PATIENCE = 20.0  # seconds

APP = """
import anyio, json, os, uwsgi_async
from uwsgi_async import mule_get_msg, mule_id
from {module} import farm, mule, mulefunc, muleloop, mulemsg

def note(*words):
    print(*words, "in", mule_id(), flush=True)

@mule(1)
{kind} begins():
    note("begins")

@muleloop(2)
async def loops():
    note("got", (await mule_get_msg()).decode())

@mulemsg(3)
{kind} message(text):
    if text == b"fail":
        raise RuntimeError("no luck")
    note("message", text.decode())

@farm("web")
{kind} farming(text):
    note("farming", text.decode())

@mulefunc(1)
{kind} work(*args, **kwargs):
    note("work", args, kwargs)

@mulefunc(1)
{kind} wait_for(path):
    note("waits")
    while not os.path.exists(path):
        {sleep}
    note("has waited")

async def application(environ, start_response):
    start_response("200 OK", [])
    name, *words = json.loads(await environ["wsgi.input"].read())
    if name in ("mule_msg", "farm_msg"):
        answer = getattr(uwsgi_async, name)(*words)
    else:
        answer = globals()[name](*words)
    return [json.dumps(answer).encode()]
"""
KINDS = {"plain": ("def", "__import__('time').sleep(0.01)"), "async": ("async def", "await anyio.sleep(0.01)")}
OPTIONS = ("--mules", "5", "--farm", "web:4")


@pytest.fixture(params=["plain", "async"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind, sleep = KINDS[request.param]
    (tmp_path / "app.py").write_text(APP.format(module="uwsgidecorators", kind=kind, sleep=sleep))
    return tmp_path


def call(process: Process, *words: object) -> Any:
    return json.loads(process.post("/", json.dumps(words).encode()))


@pytest.mark.parametrize("how", [(), ("--master",), ("--master", "--trio")], ids=["alone", "master", "trio"])
def test_each_decorator_runs_its_function_in_its_mule(place: Path, how: tuple[str, ...]) -> None:
    with server("app.py", *OPTIONS, *how, cwd=place) as process:
        process.wait_for("begins in 1")
        for words, said in {
            ("mule_msg", "one", 2): "got one in 2",
            ("mule_msg", "two", 2): "got two in 2",
            ("mule_msg", "fail", 3): r"(?s)an error in message for a message of 4 bytes.*RuntimeError: no luck",
            ("mule_msg", "text", 3): "message text in 3",
            ("farm_msg", "web", "text"): "farming text in 4",
            ("work", 1, "two"): r"work \(1, 'two'\) {} in 1",
        }.items():
            assert call(process, *words) is True
            process.wait_for(said)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0


def test_a_reload_lets_a_call_that_runs_end_and_loses_none_that_waits(place: Path) -> None:
    with server("app.py", *OPTIONS, "--master", cwd=place) as process:
        call(process, "wait_for", str(place / "go"))
        process.wait_for("waits in 1")
        for number in range(20):
            call(process, "work", number)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("reloaded in")
        (place / "go").touch()
        process.wait_for("has waited in 1")
        for number in range(20):
            process.wait_for(rf"work \({number},\)")
        assert process.output.count("work (") == 20


# --- in a program ---------------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "postfork_chain", chain := [])
    monkeypatch.setattr(decorators, "postfork_chain", chain)
    monkeypatch.delitem(mule_functions, "none", raising=False)
    before = dict(mule_functions)
    yield
    mule_functions.clear()
    mule_functions.update(before)


async def nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_is_kept")
async def test_what_is_decorated_before_an_instance_begins_runs_in_its_mules_which_end_with_it() -> None:
    ran: list[object] = []
    done = anyio.Event()

    @muleloop(1)
    async def loops() -> None:
        ran.append(mules.mule_id())
        await anyio.sleep_forever()

    @mulefunc(2)
    async def work(word: str) -> None:
        ran.append(word)
        done.set()

    with anyio.fail_after(PATIENCE):
        async with uwsgi_async.run(nothing, http="127.0.0.1:0", mules=2):
            assert work("word")
            await done.wait()
    assert sorted(map(str, ran)) == ["1", "word"]


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.fixture
def queues() -> Iterator[MuleQueues]:
    queues = MuleQueues.create(build(mules=1).mules, 1)
    assert queues is not None
    with mules.using(queues):
        yield queues
    queues.close()


def run_next(queues: MuleQueues) -> object:
    message = queues.shared.take(65536)
    assert message is not None
    return mule_msg_dispatcher(message)


@pytest.mark.usefixtures("nothing_is_kept")
def test_functions_of_the_same_name_in_different_places_are_not_mistaken(queues: MuleQueues) -> None:
    def first() -> Callable[[], bool]:
        @mulefunc
        def work() -> str:
            return "first"

        return work

    def second() -> Callable[[], bool]:
        @mulefunc
        def work() -> str:
            return "second"

        return work

    for make, expected in ((first, "first"), (second, "second"), (first, "first")):
        assert make()() is True
        assert run_next(queues) == expected


@pytest.mark.usefixtures("nothing_is_kept")
def test_a_call_that_finds_no_room_is_told(queues: MuleQueues) -> None:
    @mulefunc
    def work(text: str) -> None: ...

    results = [work("x" * 1000) for _ in range(1000)]
    assert results[0] is True
    assert results[-1] is False


class Trap:
    """What must not be unpickled."""

    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


def test_what_is_no_call_is_not_unpickled(queues: MuleQueues) -> None:
    assert mule_msg_dispatcher(pickle.dumps(("key", (Trap(),), {}))) is None
    assert mule_msg_dispatcher(bytes(16) + pickle.dumps(("key", (Trap(),), {}))) is None
    assert not Trap.sprung


def test_a_function_that_is_not_there_any_more_is_an_error_that_names_it(queues: MuleQueues) -> None:
    with pytest.raises(MuleError, match=r"a call of app\.gone has come"):
        mule_msg_dispatcher(queues.secret + pickle.dumps(("app.gone", (), {})))


@pytest.mark.usefixtures("nothing_is_kept")
def test_without_mules_a_call_says_which_option_is_missing() -> None:
    @mulefunc
    def work() -> None: ...

    with pytest.raises(MuleError, match="no mule configured"):
        work()
