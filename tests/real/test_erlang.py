"""With real Erlang nodes and a real epmd: calls and messages both ways, every term, links, monitors, ticks, deaths."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings

from tests.erlang.nodes import PATIENCE, a_node
from tests.erlang.terms import in_erlangs_eyes, terms
from tests.real.erl import Erl, epmd, erl
from uwsgi_async.erlang import ErlangString, Fun, Pid, Port, Reference
from uwsgi_async.erlang.node import ErlangNode
from uwsgi_async.errors import NodeDownError, TermError

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

MANY = 10_000


@pytest.fixture(scope="module", autouse=True)
def _epmd() -> Iterator[None]:
    with epmd():
        yield


@pytest.fixture(scope="module")
def shop(_epmd: None) -> Iterator[Erl]:
    """A node of erl's, for all tests that leave it as it is."""
    with erl("shop") as node:
        yield node


async def evaluate(node: Erl, expressions: str) -> str:
    with anyio.fail_after(PATIENCE):
        return await anyio.to_thread.run_sync(node.eval, expressions)


class Got(list[Any]):
    """The messages that a process has got."""

    def __init__(self) -> None:
        super().__init__()
        self._news = anyio.Event()

    def take(self, message: Any) -> None:
        self.append(message)
        self._news.set()

    async def wait_for(self, count: int) -> list[Any]:
        with anyio.fail_after(PATIENCE):
            while len(self) < count:
                self._news = anyio.Event()
                await self._news.wait()
        return self


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("alive", ["", "caller"], ids=["no name", "a name"])
async def test_a_function_of_erlangs_is_called(shop: Erl, alive: str) -> None:
    async with a_node(alive) as node:
        assert await node.rpc(shop.name, "lists", "sum", [[1, 2, 3000]]) == 3003
        assert await node.rpc(shop.name, "erlang", "list_to_binary", [ErlangString(b"text")]) == b"text"


@pytest.mark.anyio
async def test_many_calls_at_once_get_each_its_own_answer(shop: Erl) -> None:
    answers = {}

    async def call(node: ErlangNode, number: int) -> None:
        answers[number] = await node.rpc(shop.name, "erlang", "+", [number, 1])

    async with a_node() as node, anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(call, node, number)
    assert answers == {number: number + 1 for number in range(100)}


@pytest.mark.anyio
async def test_an_error_in_erlang_comes_as_erlang_gives_it(shop: Erl) -> None:
    async with a_node() as node:
        answer = await node.rpc(shop.name, "no_such_module", "nothing", [])
        assert answer[:1] == ("badrpc",)
        assert answer[1][1][0] == "undef"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "call",
    [
        "rpc:call('{}', any, double, [21])",
        "erpc:call('{}', any, double, [21])",
        "gen_server:call({{rex, '{}'}}, {{call, any, double, [21], self()}})",
        "rpc:block_call('{}', any, double, [21])",
        "rpc:yield(rpc:async_call('{}', any, double, [21]))",
        "hd(element(1, rpc:multicall(['{}'], any, double, [21])))",
    ],
)
async def test_erlang_calls_a_function_of_ours(shop: Erl, call: str) -> None:
    async with a_node("server", rpc={"double": lambda number: number * 2}):
        answer = await evaluate(shop, call.format("server@127.0.0.1"))
    assert answer == "42"


@pytest.mark.anyio
async def test_erlang_calls_an_async_function_of_ours(shop: Erl) -> None:
    async def later(text: bytes) -> tuple[Any, ...]:
        await anyio.lowlevel.checkpoint()
        return "ok", text.upper(), None

    async with a_node("server", rpc={"later": later}):
        assert await evaluate(shop, "rpc:call('server@127.0.0.1', any, later, [<<\"a\">>])") == '{ok,<<"A">>,[]}'


@pytest.mark.anyio
async def test_erlang_is_told_of_an_error_in_our_function(shop: Erl) -> None:
    def fail() -> None:
        raise ValueError("too small")

    async with a_node("server", rpc={"fail": fail, "bad": lambda: object()}):
        call = "rpc:call('server@127.0.0.1', any, {}, [])"
        assert "{badrpc,{'EXIT',{{'ValueError',<<\"too small\">>}" in await evaluate(shop, call.format("fail"))
        assert "{badrpc,{'EXIT',{{'TermError'," in await evaluate(shop, call.format("bad"))
        assert "{badrpc,{'EXIT',{undef," in await evaluate(shop, call.format("nothing"))


@pytest.mark.anyio
async def test_erlang_is_told_at_once_that_a_process_cannot_be_started_here(shop: Erl) -> None:
    async with a_node("server"):
        request = "erlang:spawn_request('server@127.0.0.1', lists, sum, [[1]], []), "
        assert await evaluate(shop, request + "receive {spawn_reply, _, E, R} -> {E, R} end") == "{error,notsup}"


@pytest.mark.anyio
async def test_a_cast_is_carried_out_and_not_answered(shop: Erl) -> None:
    got = Got()
    async with a_node("server", rpc={"note": got.take}):
        await evaluate(shop, "erpc:cast('server@127.0.0.1', any, note, [1])")
        await evaluate(shop, "gen_server:cast({rex, 'server@127.0.0.1'}, {cast, any, note, [2], self()})")
        assert sorted(await got.wait_for(2)) == [1, 2]


@pytest.mark.anyio
async def test_a_call_that_erlang_gives_up_is_over_there_and_does_no_harm(shop: Erl) -> None:
    forever = anyio.Event()
    async with a_node("server", rpc={"hang": forever.wait, "double": lambda number: number * 2}):
        assert await evaluate(shop, "rpc:call('server@127.0.0.1', any, hang, [], 20)") == "{badrpc,timeout}"
        assert await evaluate(shop, "rpc:call('server@127.0.0.1', any, double, [2])") == "4"


@pytest.mark.anyio
async def test_net_adm_ping_gives_pong(shop: Erl) -> None:
    async with a_node("pinged"):
        assert await evaluate(shop, "net_adm:ping('pinged@127.0.0.1')") == "pong"
    assert await evaluate(shop, "net_adm:ping('pinged@127.0.0.1')") == "pang"


@pytest.mark.anyio
async def test_a_node_is_hidden_as_c_nodes_are(shop: Erl) -> None:
    async with a_node("hidden"):
        await evaluate(shop, "net_adm:ping('hidden@127.0.0.1')")
        assert await evaluate(shop, "{nodes(), lists:member('hidden@127.0.0.1', nodes(hidden))}") == "{[],true}"


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_ten_thousand_messages_come_in_order_in_both_directions(shop: Erl) -> None:
    echo = "register(echo, spawn(fun F() -> receive stop -> ok; M -> {back, 'many@127.0.0.1'} ! M, F() end end))"
    await evaluate(shop, echo)
    got = Got()
    async with a_node("many", {"back": got.take}) as node:
        for number in range(MANY):
            await node.send(shop.name, "echo", (number, b"message"))
        assert await got.wait_for(MANY) == [(number, b"message") for number in range(MANY)]
        await node.send(shop.name, "echo", "stop")


@pytest.mark.anyio
async def test_a_message_goes_to_a_pid_and_its_answer_comes_to_who_receives(shop: Erl) -> None:
    await evaluate(shop, "register(told, spawn(fun F() -> receive {From, M} -> From ! {self(), M}, F() end end))")
    async with a_node() as node:
        connection = await node.connect(shop.name)
        node.peer(shop.name).is_listened_to = True
        await node.send(shop.name, "told", (connection.main, 1))
        with anyio.fail_after(PATIENCE):
            pid, first = await node.receive(shop.name)
            await node.send(shop.name, pid, (connection.main, 2))
            assert (first, await node.receive(shop.name)) == (1, (pid, 2))
    assert isinstance(pid, Pid)
    assert pid.node == shop.name
    await evaluate(shop, "exit(whereis(told), kill)")


@pytest.mark.anyio
async def test_a_message_longer_than_the_limit_ends_the_connection_with_a_word(
    shop: Erl, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_node("small", {"big": lambda _message: None}, largest=100_000):
        await evaluate(shop, "monitor_node('small@127.0.0.1', true), {big, 'small@127.0.0.1'} ! <<0:1600000>>")
        assert await evaluate(shop, "receive {nodedown, 'small@127.0.0.1'} -> down end") == "down"
    assert "a message has 2000" in caplog.text
    assert "erlang-message-size" in caplog.text


@pytest.mark.anyio
async def test_a_large_message_comes_whole(shop: Erl) -> None:
    """Erlang sends fragments of 64 KB to nodes that can put them together."""
    async with a_node() as node:
        data = bytes(range(256)) * 4000
        assert await node.rpc(shop.name, "erlang", "list_to_binary", [[data, data]]) == data * 2


# --- terms ------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_terms_of_every_type_come_back_as_they_were(shop: Erl) -> None:
    samples: list[Any] = []

    @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
    @given(terms())
    def collect(term: Any) -> None:
        samples.append(term)

    collect()
    async with a_node() as node:
        for term in samples:
            came = await node.rpc(shop.name, "erlang", "hd", [[term]])
            assert in_erlangs_eyes(came) == in_erlangs_eyes(term)
            assert await node.rpc(shop.name, "erlang", "=:=", [term, came]) is True


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("self()", Pid),
        ("make_ref()", Reference),
        ("hd(erlang:ports())", Port),
        ("fun() -> 1 end", Fun),
        ("fun lists:sum/1", Fun),
        ('"text"', ErlangString),
        ("<<5:3>>", object),
        ("[1|2]", object),
        ("'\x61\u00e4\u20ac'", str),
        ("{1.5, -7, 1 bsl 2000, -(1 bsl 70)}", tuple),
        ('#{1 => a, <<"k">> => "v", {x} => []}', dict),
        ("[]", list),
        ("undefined", str),
        ("[true, false]", list),
    ],
)
async def test_a_term_that_erlang_has_made_goes_back_unchanged(shop: Erl, expression: str, kind: type) -> None:
    got = Got()
    async with a_node("kept", {"keep": got.take}) as node:
        await evaluate(shop, f"put(kept, {expression}), {{keep, 'kept@127.0.0.1'}} ! {{self(), get(kept)}}")
        ((pid, term),) = await got.wait_for(1)
        assert isinstance(term, kind)
        await node.send(shop.name, pid, ("again", term))
        assert await evaluate(shop, "receive {again, T} -> T =:= get(kept) end") == "true"


@pytest.mark.anyio
async def test_a_term_that_python_cannot_have_is_dropped_with_a_word(
    shop: Erl, caplog: pytest.LogCaptureFixture
) -> None:
    got = Got()
    async with a_node("dropping", {"take": got.take}, {"take": got.take}):
        await evaluate(shop, "{take, 'dropping@127.0.0.1'} ! #{1 => a, 1.0 => b}")
        await evaluate(shop, "{take, 'dropping@127.0.0.1'} ! next")
        assert await got.wait_for(1) == ["next"]
        answer = await evaluate(shop, "rpc:call('dropping@127.0.0.1', any, take, [#{1 => a, 1.0 => b}])")
    assert "two keys that are equal in Python" in caplog.text
    assert answer == "{error,badarg}"


@pytest.mark.anyio
async def test_what_is_no_term_is_refused_and_the_connection_stays(shop: Erl) -> None:
    async with a_node() as node:
        with pytest.raises(TermError, match="255 characters"):
            await node.rpc(shop.name, "erlang", "hd", [["x" * 256]])
        with pytest.raises(TermError, match="Unsupported object"):
            await node.send(shop.name, "any", {1, 2})
        assert await node.rpc(shop.name, "erlang", "abs", [-1]) == 1


# --- links and monitors -----------------------------------------------------------------------------------------------

OURS = "Pid = rpc:call('linked@127.0.0.1', erlang, whereis, [worker]), "


@pytest.mark.anyio
async def test_a_monitor_of_a_process_that_is_not_there_says_noproc(shop: Erl) -> None:
    monitor = "R = monitor(process, {}), receive {{'DOWN', R, process, _, Reason}} -> Reason end"
    async with a_node("linked", {"worker": lambda _message: None}):
        assert await evaluate(shop, monitor.format("{nobody, 'linked@127.0.0.1'}")) == "noproc"


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["{worker, 'linked@127.0.0.1'}", "Pid"])
async def test_a_monitor_of_our_process_says_nothing_until_the_node_goes_down(shop: Erl, way: str) -> None:
    async with a_node("linked", {"worker": lambda _message: None}):
        asked = f"{OURS} put(r, monitor(process, {way})), receive M -> M after 50 -> nothing end"
        assert await evaluate(shop, asked) == "nothing"
    assert await evaluate(shop, "R = get(r), receive {'DOWN', R, process, _, Reason} -> Reason end") == "noconnection"


@pytest.mark.anyio
async def test_a_link_tells_our_process_of_the_end_as_a_message(shop: Erl) -> None:
    got = Got()
    async with a_node("linked", {"worker": got.take}):
        await evaluate(shop, f"{OURS} spawn(fun() -> link(Pid), Pid ! linked, exit(enough) end)")
        first, (word, pid, reason) = await got.wait_for(2)
    assert (first, word, reason) == ("linked", "EXIT", "enough")
    assert pid.node == shop.name


@pytest.mark.anyio
async def test_a_link_that_was_taken_back_tells_nothing(shop: Erl) -> None:
    got = Got()
    async with a_node("linked", {"worker": got.take}):
        await evaluate(shop, f"{OURS} spawn(fun() -> link(Pid), unlink(Pid), Pid ! unlinked, exit(enough) end)")
        await evaluate(shop, "rpc:call('linked@127.0.0.1', any, any, [])")
        await evaluate(shop, "{worker, 'linked@127.0.0.1'} ! last")
        assert await got.wait_for(2) == ["unlinked", "last"]


@pytest.mark.anyio
async def test_exit_of_our_process_comes_as_a_message(shop: Erl) -> None:
    got = Got()
    async with a_node("linked", {"worker": got.take}):
        await evaluate(shop, f"{OURS} exit(Pid, please)")
        ((word, _pid, reason),) = await got.wait_for(1)
    assert (word, reason) == ("EXIT", "please")


@pytest.mark.anyio
async def test_a_link_to_a_process_that_is_not_there_is_answered_by_noproc(shop: Erl) -> None:
    async with a_node("linked", {"worker": lambda _message: None}):
        node = 'hd(string:split(tl(pid_to_list(Pid)), "."))'
        dead = f'{OURS} Dead = list_to_pid(lists:concat(["<", {node}, ".999999.0>"])), '
        asked = "process_flag(trap_exit, true), link(Dead), receive {'EXIT', _, Reason} -> Reason end"
        assert await evaluate(shop, dead + asked) == "noproc"
        await evaluate(shop, "process_flag(trap_exit, false)")


@pytest.mark.anyio
async def test_the_end_of_a_started_process_is_told_to_links_and_monitors(shop: Erl) -> None:
    async with a_node("linked", rpc={"double": lambda number: number * 2}):
        called = "erpc, execute_call, [make_ref(), any, double, [2]], [monitor, link, {reply, no}]"
        start = f"process_flag(trap_exit, true), spawn_request('linked@127.0.0.1', {called})"
        down = "receive {'DOWN', _, process, _, {_, return, 4}} -> ok end"
        exited = "receive {'EXIT', _, {_, return, 4}} -> both end"
        assert await evaluate(shop, f"{start}, {down}, {exited}") == "both"
        await evaluate(shop, "process_flag(trap_exit, false)")


@pytest.mark.anyio
async def test_a_started_process_can_be_killed(shop: Erl) -> None:
    began = Got()

    async def hang() -> None:
        began.take("began")
        await anyio.sleep_forever()

    async with a_node("linked", rpc={"hang": hang}):
        start = "put(p, element(1, spawn_monitor('linked@127.0.0.1', erpc, execute_call, [make_ref(), any, hang, []])))"
        await evaluate(shop, start)
        await began.wait_for(1)
        asked = "exit(get(p), kill), receive {'DOWN', _, process, _, Reason} -> Reason end"
        assert await evaluate(shop, asked) == "killed"


# --- cookies, deaths, ticks -------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_wrong_cookie_is_named_as_the_reason_when_we_connect(shop: Erl) -> None:
    async with a_node(cookie="wrong") as node:
        with pytest.raises(NodeDownError, match=r"shop@127\.0\.0\.1 has a different cookie: give both nodes the same"):
            await node.connect(shop.name)


@pytest.mark.anyio
async def test_a_wrong_cookie_is_named_as_the_reason_when_erlang_connects(
    shop: Erl, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_node("strict", cookie="wrong"):
        assert "pang" in await evaluate(shop, "net_adm:ping('strict@127.0.0.1')")
    assert "shop@127.0.0.1 has a different cookie, and was refused" in caplog.text


@pytest.mark.anyio
async def test_a_node_that_is_not_there_is_named(shop: Erl) -> None:
    async with a_node() as node:
        with pytest.raises(
            NodeDownError, match=r"nobody@127\.0\.0\.1: no node of that name is registered with epmd there"
        ):
            await node.rpc("nobody@127.0.0.1", "erlang", "node", [])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # it starts two nodes each time
async def test_who_waits_hears_that_a_node_was_killed_and_a_new_one_is_connected_to() -> None:
    errors: list[BaseException] = []
    received: list[Any] = []

    async def call(node: ErlangNode) -> None:
        try:
            await node.rpc("mortal@127.0.0.1", "timer", "sleep", [60_000])
        except NodeDownError as error:
            errors.append(error)

    async def receive(node: ErlangNode) -> None:
        received.append(await node.receive("mortal@127.0.0.1"))

    async with a_node() as node:
        with erl("mortal") as mortal:
            connection = await node.connect(mortal.name)
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call, node)
                    tasks.start_soon(receive, node)
                    while connection.pressure.waiting < 2:  # noqa: ASYNC110 - both wait
                        await anyio.sleep(0.01)
                    mortal.kill()
        assert received == [None]
        assert "the connection to mortal@127.0.0.1 has ended" in str(errors[0])
        with erl("mortal") as mortal:
            assert await node.rpc(mortal.name, "erlang", "node", []) == mortal.name


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # erl's shortest ticktime is long
async def test_both_sides_stay_connected_by_ticks_alone() -> None:
    ticktime = 4  # seconds: erl refuses less
    with erl("ticking", "-kernel", "net_ticktime", str(ticktime)) as ticking:
        async with a_node("quiet", ticktime=ticktime) as node:
            connection = await node.connect(ticking.name)
            await anyio.sleep(1.6 * ticktime)
            assert connection.is_up
            assert await evaluate(ticking, "nodes(hidden)") == "['quiet@127.0.0.1']"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_node_that_stands_still_counts_as_dead_after_the_ticktime(caplog: pytest.LogCaptureFixture) -> None:
    with erl("frozen") as frozen:
        async with a_node(ticktime=1.0) as node:
            connection = await node.connect(frozen.name)
            frozen.popen.send_signal(signal.SIGSTOP)
            with anyio.fail_after(PATIENCE):
                while connection.is_up:  # noqa: ASYNC110 - its end has no event for others
                    await anyio.sleep(0.02)
            frozen.popen.send_signal(signal.SIGCONT)
        assert connection.end_reason == "it does not answer (net_ticktime)"
    assert "does not answer: nothing came for 1 s" in caplog.text
