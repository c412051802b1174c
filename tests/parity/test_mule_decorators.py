"""uwsgidecorators: those of mules and farms do the same in both servers; and uWSGI's own module in ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.parity.noted import Server, started
from tests.parity.oracle import home, require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]

# Mules with a loop of their own take no other messages: mule 1 has none; 4 and 5 are in farms.
OPTIONS = ("--mules", "5", "--farm", "web:4", "--farm", "others:1")


@pytest.fixture(scope="module", params=["oracle", "ours", "ours with uWSGI's module"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    require()
    name, _, others = request.param.partition(" ")
    options = list(OPTIONS)
    if others:
        [found] = home().glob("lib/python*/site-packages/uwsgidecorators.py")
        place = tmp_path_factory.mktemp("path")
        shutil.copy(found, place)
        options += ["--pythonpath", str(place)]
    with started(name, "muledecorators.py", tmp_path_factory.mktemp("mules"), *options) as running:
        yield running


def wait_for_line(server: Server, line: str) -> None:
    server.until(lambda seen: line in seen)


def test_a_function_runs_once_when_its_mule_begins(server: Server) -> None:
    wait_for_line(server, "begins mule1")
    assert server.ran.read_text().count("begins") == 1


def test_postfork_runs_in_mules_without_a_loop_and_in_workers(server: Server) -> None:
    for where in ("mule1", "mule5", "worker1", "worker2"):
        wait_for_line(server, f"forked {where}")


def test_a_function_runs_again_and_again_in_its_mule(server: Server) -> None:
    server.post(["mule_msg", 2, "one"])
    server.post(["mule_msg", 2, "two"])
    lines = server.until(lambda seen: "got two mule2" in seen and seen[-1] == "loops mule2")
    assert [line for line in lines if line.endswith("mule2")][:5] == [
        "loops mule2",
        "got one mule2",
        "loops mule2",
        "got two mule2",
        "loops mule2",
    ]


def test_a_loop_that_fails_ends_its_mule_which_begins_again(server: Server) -> None:
    server.post(["mule_msg", 2, "fail"])
    wait_for_line(server, "got fail mule2")
    server.post(["mule_msg", 2, "after"])
    wait_for_line(server, "got after mule2")
    server.running.log_until(lambda log: "RuntimeError: no luck" in log or None)


def test_a_function_gets_each_message_to_its_mule(server: Server) -> None:
    for word in ("one", "two"):
        server.post(["mule_msg", 3, word])
    lines = server.until(lambda seen: "message two mule3" in seen)
    assert lines.index("message one mule3") < lines.index("message two mule3")


def test_a_function_gets_each_message_to_its_farm(server: Server) -> None:
    server.post(["farm_msg", "web", "word"])
    wait_for_line(server, "farming word mule4")


def test_a_call_runs_in_the_mule_or_farm_it_is_for(server: Server) -> None:
    server.post(["in_the_first", 1, [2]])
    wait_for_line(server, "first (1, [2]) {'word': 'word'} mule1")
    server.post(["in_the_farm"])
    wait_for_line(server, "others () {'word': 'word'} mule1")


def test_a_call_for_any_mule_runs_in_one_that_has_no_loop_of_its_own(server: Server) -> None:
    def has_run(seen: list[str]) -> bool:
        server.post(["anywhere", 3])  # the mules that have one take messages for any mule, too
        return any(line.startswith("anywhere (3,) {'word': 'word'} mule") for line in seen)

    server.until(has_run)


def test_a_call_that_fails_is_logged_and_the_next_one_runs(server: Server) -> None:
    server.post(["fails"])  # its argument is an error of itself
    server.running.log_until(lambda log: "TypeError" in log or None)
    server.post(["in_the_first", "after"])
    wait_for_line(server, "first ('after',) {'word': 'word'} mule1")
