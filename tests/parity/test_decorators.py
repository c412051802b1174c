"""uwsgidecorators: each decorator, with the same app, does the same in both servers; and uWSGI's own module in ours."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.parity.noted import Server, both_started, started
from tests.parity.oracle import home, require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]

APP = "decorators.py"

# What uWSGI's module has beside the decorators, to build them with.
INTERNALS = {
    "farm_loop", "manage_spool_request", "mule_brain", "mule_brainloop", "mule_functions", "mule_msg_dispatcher",
    "mulemsg_loop", "spool_decorate", "spooler_functions",
}  # fmt: skip
NEWER = {"mstimer"}  # in uWSGI 2.1


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with both_started(APP, tmp_path_factory.mktemp("decorators")) as servers:
        yield servers


@pytest.fixture(scope="module")
def with_uwsgis_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ours, with the module that uWSGI 2.0.31 has installed in the path. PyPI's 1.1.0 is the same but for a blank."""
    require()
    [found] = home().glob("lib/python*/site-packages/uwsgidecorators.py")
    place = tmp_path_factory.mktemp("path")
    shutil.copy(found, place)
    with started("ours", APP, tmp_path_factory.mktemp("uwsgis"), "--pythonpath", str(place)) as server:
        yield server


@pytest.fixture(params=["oracle", "ours", "ours with uWSGI's module"])
def server(request: pytest.FixtureRequest, both: tuple[Server, Server]) -> Server:
    if request.param == "ours with uWSGI's module":
        found: Server = request.getfixturevalue("with_uwsgis_module")
        return found
    return both[request.param == "ours"]


def call(server: Server, *words: object) -> object:
    """What the app's function has returned."""
    answer = server.post(words)
    assert isinstance(answer, list)
    return answer[0]


def wait_for_line(server: Server, *lines: str) -> None:
    server.until(lambda seen: set(lines) <= set(seen))


def test_every_name_of_uwsgis_module_is_there(both: tuple[Server, Server]) -> None:
    oracle, ours = (set(call(server, "names")) for server in both)  # type: ignore[call-overload]
    assert oracle - ours - INTERNALS == set()
    assert {name for name in ours - oracle - NEWER if not name.startswith("take_")} == set()


def test_ours_is_not_taken_when_another_one_is_in_the_path(with_uwsgis_module: Server) -> None:
    assert "spool_decorate" in call(with_uwsgis_module, "names")  # type: ignore[operator]


def test_importing_sets_the_hooks(server: Server) -> None:
    assert call(server, "hooks") == [
        ["post_fork_hook", "postfork_chain_hook"],
        ["mule_msg_hook", "mule_msg_dispatcher"],
        ["spooler", "manage_spool_request"],
    ]


def test_a_free_signal_is_the_lowest_one_that_is_not_registered(server: Server) -> None:
    assert call(server, "numbers") == [0, 1, 4]


def test_a_name_is_bound_to_the_function_where_uwsgi_does_so(server: Server) -> None:
    assert call(server, "bound") == ["function"] * 5


def test_a_signal_runs_the_function_in_its_target(server: Server) -> None:
    call(server, "raise", 60)
    wait_for_line(server, "signal 60 worker2")
    call(server, "raise", 61)
    server.until(lambda seen: bool({"signal 61 worker1", "signal 61 worker2"} & set(seen)))


def test_timers_run_the_function_again_and_again(server: Server) -> None:
    server.until(lambda seen: sum(line.startswith("timer 0 ") for line in seen) > 1)
    server.until(lambda seen: seen.count("rbtimer 1 worker2") > 1)
    wait_for_line(server, "timer 50 worker1", "timer 50 worker2")


def test_a_cron_runs_the_function(server: Server) -> None:
    wait_for_line(server, "cron 2 worker1")


def test_a_file_monitor_runs_the_function(server: Server) -> None:
    server.change_watched_file()
    wait_for_line(server, "filemon 3 worker1")


def test_postfork_runs_in_each_worker_in_order_and_in_one_alone(server: Server) -> None:
    seen = server.until(lambda seen: sum(line.startswith("postfork last") for line in seen) >= 2)
    lines = [line for line in seen if line.startswith("postfork")]
    assert [line for line in lines if "worker1" in line] == ["postfork first worker1", "postfork last worker1"]
    assert [line for line in lines if "worker2" in line][:3] == [
        "postfork first worker2",
        "postfork second worker2",
        "postfork last worker2",
    ]


def test_a_thread_runs_the_function_and_the_call_returns_it(server: Server) -> None:
    assert call(server, "thread", "word") == [True, "threaded"]
    server.until(lambda seen: any(line.startswith("thread word True") for line in seen))


def test_a_call_within_its_harakiri_returns(server: Server) -> None:
    assert call(server, "quick", "word") == "word"


def test_a_lock_is_held_while_the_function_runs(server: Server) -> None:
    assert call(server, "locked", 1, 2) == [True, [1, 2], {}]


def test_a_lock_is_free_after_an_error(server: Server) -> None:
    assert call(server, "fails") == [False]


# --- what ends a worker ---------------------------------------------------------------------------------------------


def test_a_call_beyond_its_harakiri_kills_the_worker(server: Server) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - http.client's errors and the kernel's alike
        server.post(["slow"])
    server.running.log_until(lambda log: "HARAKIRI" in log.upper() or None)
    deadline = time.monotonic() + 20
    while call(server, "quick", "again") != "again":
        assert time.monotonic() < deadline
