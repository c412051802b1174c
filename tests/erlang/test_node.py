"""Two nodes of ours with each other: who connects, who waits, what is held up, and what an end does."""

from __future__ import annotations

import os
import struct
import threading
from typing import Any

import anyio
import anyio.abc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.erlang.epmd import an_epmd
from tests.erlang.nodes import COOKIE, PATIENCE, a_node
from tests.erlang.terms import terms
from uwsgi_async.erlang.calling import Caller
from uwsgi_async.erlang.dialing import shake_hands
from uwsgi_async.erlang.handshake import Initiator, LocalNode
from uwsgi_async.erlang.messages import Monitor, Send, decode_message, encode_message
from uwsgi_async.erlang.node import ErlangNode
from uwsgi_async.erlang.settings import NodeClaim, NodeSettings
from uwsgi_async.erlang.terms import encode
from uwsgi_async.erlang.values import Pid, Reference
from uwsgi_async.errors import ErlangError, NodeDownError, UwsgiAsyncError

pytestmark = pytest.mark.anyio

A, B = "a@127.0.0.1", "b@127.0.0.1"
double = {"double": lambda number: number * 2}


async def until(condition: Any) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.005)


async def test_nodes_call_each_other_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_epmd(monkeypatch), a_node("a", rpc=double) as a, a_node("b", rpc=double) as b:
        assert await a.rpc(B, "any", "double", [4]) == 8
        assert await b.rpc(A, "any", "double", [5]) == 10
        assert await a.connect(B) is await a.connect(B)
        assert len(a._connections) == len(b._connections) == 1


async def test_who_connects_at_the_same_time_as_the_other_one_gets_one_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with an_epmd(monkeypatch), a_node("a", rpc=double) as a, a_node("b", rpc=double) as b:
        for _ in range(20):
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(a.rpc, B, "any", "double", [1])
                    tasks.start_soon(b.rpc, A, "any", "double", [1])
            assert await a.rpc(B, "any", "double", [4]) == await b.rpc(A, "any", "double", [4]) == 8
            await a.disconnect(B)
            await until(lambda: not a._connections and not b._connections)


async def test_a_caller_that_is_cancelled_leaves_the_connection_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_epmd(monkeypatch), a_node("a") as a, a_node("b", rpc={**double, "hang": anyio.sleep_forever}):
        with anyio.move_on_after(0.05) as scope:
            await a.rpc(B, "any", "hang", [])
        assert scope.cancelled_caught
        assert await a.rpc(B, "any", "double", [4]) == 8
        assert a.peer(B)._calls == {}


async def test_a_connect_that_is_cancelled_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def say_nothing(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with an_epmd(monkeypatch) as epmd, a_node("a") as a:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
            epmd.ports["b"] = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, say_nothing)
                with anyio.move_on_after(0.05) as scope:
                    await a.connect(B)
                tasks.cancel_scope.cancel()
        assert scope.cancelled_caught
        assert not a._connections


async def test_who_calls_and_who_receives_hear_that_the_other_node_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    async def call(node: ErlangNode) -> None:
        try:
            await node.rpc(B, "any", "hang", [])
        except NodeDownError as error:
            heard.append(str(error))

    async def receive(node: ErlangNode) -> None:
        heard.append(await node.receive(B))

    async with an_epmd(monkeypatch), a_node("a") as a, anyio.create_task_group() as tasks:
        async with a_node("b", rpc={"hang": anyio.sleep_forever}):
            connection = await a.connect(B)
            tasks.start_soon(call, a)
            tasks.start_soon(receive, a)
            await until(lambda: connection.pressure.waiting == 2)
        await until(lambda: len(heard) == 2)
    assert None in heard
    assert any(f"the connection to {B} has ended" in str(each) for each in heard)


async def test_messages_to_nobody_wait_for_who_receives_once_somebody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_epmd(monkeypatch), a_node("a") as a, a_node("b") as b:
        await a.connect(B)
        a.peer(B).is_listened_to = True
        for number in range(3):
            await b.send(A, "nobody", number)
        with anyio.fail_after(PATIENCE):
            assert [await a.receive(B) for _ in range(3)] == [0, 1, 2]


async def test_messages_to_nobody_are_dropped_with_a_word_while_nobody_has_received(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with an_epmd(monkeypatch), a_node("a", rpc=double), a_node("b") as b:
        await b.send(A, "nobody", 1)
        assert await b.rpc(A, "any", "double", [1]) == 2
    assert "unregistered erlang process requested" in caplog.text


async def test_an_error_of_a_process_is_logged_and_the_next_message_is_handled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Any] = []

    async def take(message: Any) -> None:
        if message == 1:
            raise ValueError("one is too few")
        got.append(message)

    async with an_epmd(monkeypatch), a_node("a", {"taker": take}), a_node("b") as b:
        for number in (1, 2):
            await b.send(A, "taker", number)
        await until(lambda: got == [2])
    assert "one is too few" in caplog.text


async def test_the_same_name_again_takes_the_place_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    functions = {"taker": lambda message: got.append(("first", message))}
    async with an_epmd(monkeypatch), a_node("a", functions), a_node("b") as b:
        await b.send(A, "taker", 1)
        await until(lambda: len(got) == 1)
        functions["taker"] = lambda message: got.append(("second", message))
        await b.send(A, "taker", 2)
        await until(lambda: got == [("first", 1), ("second", 2)])


async def test_harakiri_ends_a_call_and_the_handling_of_a_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Any] = []

    async def take(message: Any) -> None:
        if message == 1:
            await anyio.sleep_forever()
        got.append(message)

    strict = Caller(harakiri=0.05)
    async with (
        an_epmd(monkeypatch),
        a_node("a", {"taker": take}, {"hang": anyio.sleep_forever}, caller=strict),
        a_node("b") as b,
    ):
        for number in (1, 2):
            await b.send(A, "taker", number)
        word, (_, (reason, _)) = await b.rpc(A, "any", "hang", [])
        await until(lambda: got == [2])
    assert (word, reason) == ("badrpc", ("TimeoutError", b"it took more than 0.05 s (harakiri)"))
    assert "it took more than 0.05 s" in caplog.text


async def test_plain_functions_run_in_threads_when_the_apps_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    async def where_async() -> bool:
        return where()

    rpc = {"plain": where, "async": where_async}
    async with an_epmd(monkeypatch), a_node("a", rpc=rpc, caller=Caller(threads=True)), a_node("b") as b:
        assert await b.rpc(A, "any", "plain", []) is False
        assert await b.rpc(A, "any", "async", []) is True


async def test_a_process_may_call_the_node_that_its_message_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    nodes: list[ErlangNode] = []

    async def ask(message: Any) -> None:
        got.append(await nodes[0].rpc(B, "any", "double", [message]))

    async with an_epmd(monkeypatch), a_node("a", {"asker": ask}) as a, a_node("b", rpc=double) as b:
        nodes.append(a)
        for number in range(5):
            await b.send(A, "asker", number)
        await until(lambda: got == [0, 2, 4, 6, 8])


async def test_a_sender_is_held_up_by_a_slow_process_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[int] = []
    go, count, size = anyio.Event(), 300, 60_000
    sent = 0

    async def take(message: tuple[int, bytes]) -> None:
        await go.wait()
        got.append(message[0])

    async def flood(node: ErlangNode) -> None:
        nonlocal sent
        for number in range(count):
            await node.send(A, "taker", (number, bytes(size)))
            sent += 1

    async with an_epmd(monkeypatch), a_node("a", {"taker": take}, largest=100_000) as a, a_node("b") as b:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood, b)
            await until(lambda: any(connection.pressure.is_high for connection in a._connections))
            waiting = len(a._registered["taker"]._mailbox)
            assert waiting * size < 300_000
            go.set()
        await until(lambda: len(got) == count)
    assert got == list(range(count))


async def test_who_waits_for_an_answer_gets_it_though_much_waits_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    go = anyio.Event()

    async def take(_message: Any) -> None:
        await go.wait()

    async with an_epmd(monkeypatch), a_node("a", {"taker": take}, largest=100_000) as a, a_node("b", rpc=double) as b:
        for _ in range(4):
            await b.send(A, "taker", bytes(60_000))
        await until(lambda: a._connections and next(iter(a._connections)).pressure.is_high)
        assert await a.rpc(B, "any", "double", [4]) == 8
        go.set()


async def test_a_flood_behind_which_an_answer_waits_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    go = anyio.Event()

    async def take(_message: Any) -> None:
        await go.wait()

    async with an_epmd(monkeypatch), a_node("a", {"taker": take}, largest=100_000) as a:
        async with a_node("b", rpc={"hang": anyio.sleep_forever}) as b:
            async with anyio.create_task_group() as tasks:
                errors: list[Exception] = []

                async def wait_for(call: Any, *words: Any) -> None:
                    try:
                        await call(*words)
                    except ErlangError as error:
                        errors.append(error)

                tasks.start_soon(wait_for, a.rpc, B, "any", "hang", [])
                await until(lambda: a._connections)
                for _ in range(20):
                    await wait_for(b.send, A, "taker", bytes(60_000))
                await until(lambda: errors)
                go.set()
        assert any("too many" in str(error) for error in errors)


async def test_a_name_goes_to_the_next_who_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = NodeSettings(A, COOKIE, 60.0, 1 << 20)
    claim = NodeClaim(made, os.memfd_create("claim"))
    try:
        async with an_epmd(monkeypatch) as epmd:
            async with ErlangNode(made, claim, {}).running():
                await until(lambda: "a" in epmd.ports)
            await until(lambda: "a" not in epmd.ports)
            async with ErlangNode(made, claim, {}).running():
                await until(lambda: "a" in epmd.ports)
    finally:
        claim.close()


# --- strangers --------------------------------------------------------------------------------------------------------


async def connected(port: int) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp("127.0.0.1", port)


async def session(port: int) -> tuple[anyio.abc.SocketStream, Any]:
    """Connect as a node that says what it likes, once the handshake is over."""
    stream = await connected(port)
    stranger = Initiator(LocalNode("stranger@127.0.0.1", 5), A, COOKIE.encode())
    _, agreed, _ = await shake_hands(stream, stranger)
    return stream, agreed


async def received(stream: anyio.abc.SocketStream) -> bytes:
    """Return what comes next; b"" for the end."""
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        struct.pack(">I", 3) + b"q\x83a",
        struct.pack(">I", 4) + b"p\x83a\x01",
        struct.pack(">I", 2) + b"p\x83",
        struct.pack(">I", 20) + b"\x83D" + bytes(18),
    ],
    ids=["too long", "no pass-through", "no tuple", "cut off", "atom cache"],
)
async def test_what_is_no_message_ends_that_connection_alone(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    async with an_epmd(monkeypatch) as epmd, a_node("a", rpc=double), a_node("b") as b:
        assert await b.rpc(A, "any", "double", [1]) == 2
        stream, _ = await session(epmd.ports["a"])
        async with stream:
            await stream.send(data)
            with anyio.fail_after(PATIENCE), pytest.raises(anyio.EndOfStream):
                await stream.receive()
        assert await b.rpc(A, "any", "double", [1]) == 2


async def test_a_stranger_that_floods_with_monitors_and_reads_nothing_is_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with an_epmd(monkeypatch) as epmd, a_node("a") as a:
        stream, agreed = await session(epmd.ports["a"])
        me = Pid("stranger@127.0.0.1", 1, 0, 5)
        asked = [Monitor(me, "nobody", Reference("stranger@127.0.0.1", (n, 0, 0), 5)) for n in range(1000)]
        data = b"".join(encode_message(each, agreed.flags) for each in asked)
        async with stream:
            with anyio.move_on_after(0.5):
                for _ in range(1000):
                    await stream.send(data)
            (connection,) = a._connections
            assert len(connection._out) < 8 << 20


async def test_a_stranger_that_says_nothing_in_the_handshake_is_let_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("uwsgi_async.erlang.node.SETUP_TIME", 0.1)
    async with an_epmd(monkeypatch) as epmd, a_node("a"):
        async with await connected(epmd.ports["a"]) as stream:
            with anyio.fail_after(PATIENCE), pytest.raises(anyio.EndOfStream):
                await stream.receive()
    assert "did not shake hands" in caplog.text


async def test_a_node_that_connects_again_takes_the_place_of_its_old_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with an_epmd(monkeypatch) as epmd, a_node("a") as a:
        first, _ = await session(epmd.ports["a"])
        await until(lambda: len(a._connections) == 1)
        second, agreed = await session(epmd.ports["a"])
        async with first, second:
            with anyio.fail_after(PATIENCE), pytest.raises(anyio.EndOfStream):
                await first.receive()
            me = Pid("stranger@127.0.0.1", 1, 0, 5)
            await second.send(
                encode_message(Send(me, "net_kernel", ("$gen_call", (me, "tag"), ("is_auth", "x"))), agreed.flags)
            )
            with anyio.fail_after(PATIENCE):
                assert await second.receive()


async def test_a_node_does_not_connect_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_epmd(monkeypatch), a_node("a") as a:
        with anyio.fail_after(PATIENCE), pytest.raises(NodeDownError, match="refuses the connection: not_allowed"):
            await a.connect(A)


async def test_ticks_keep_a_quiet_connection_and_silence_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_epmd(monkeypatch) as epmd, a_node("a", ticktime=1.0) as a:
        stream, _ = await session(epmd.ports["a"])
        await until(lambda: a._connections)
        (connection,) = a._connections
        async with stream:
            ticks = b""
            with anyio.fail_after(PATIENCE):
                while len(ticks) < 8:
                    ticks += await stream.receive()
            assert ticks[:8] == bytes(8)
            with anyio.fail_after(PATIENCE):
                while await received(stream):
                    pass
    assert "net_ticktime" in connection.end_reason


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # it is about what is decided, and takes long
async def test_no_message_of_any_fields_does_harm_to_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from a node that has the cookie; what it does to its own connection is its own matter."""
    came: list[Any] = []
    pids = st.sampled_from([Pid(A, number, 0, 2) for number in range(4)] + [Pid(B, 1, 0, 3)])
    references = st.just(Reference(B, (1, 2, 3), 3))
    names = st.sampled_from(
        ["taker", "rex", "net_kernel", "nobody", "reply", "monitor", "link", "erpc", "execute_call"]
    )
    field = st.one_of(pids, references, names, st.integers(0, 9), terms())
    nested = st.one_of(field, st.lists(field, max_size=4).map(tuple), st.lists(field, max_size=4))

    @settings(max_examples=150, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, 36), st.lists(nested, min_size=1, max_size=6), nested)
    def collect(operation: int, fields: list[Any], carried: Any) -> None:
        try:
            message = decode_message(b"p" + encode((operation, *fields)) + encode(carried))
        except UwsgiAsyncError:
            return
        came.append(message)

    collect()
    requests = ["$gen_call", (Pid(B, 1, 0, 3), [1])]
    came += [Send(None, "rex", (*requests, words)) for words in (1, (), ("call",), ("call", "m", "f", 1, 2), [])]
    taken: list[Any] = []
    async with an_epmd(monkeypatch), a_node("a", {"taker": taken.append}, double) as a, a_node("b", rpc=double) as b:
        connection = await a.connect(B)
        for message in came:
            try:
                a._handle(connection, message, 100)
            except ErlangError:
                pass
        assert await a.rpc(B, "any", "double", [1]) == 2
        assert await b.rpc(A, "any", "double", [2]) == 4
    assert len(came) > 10
