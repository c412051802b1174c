"""Workers and their sockets: one for all, or one for each; and what becomes of connections when a worker is killed."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.command import Process, run
from tests.instance.harness import APP, ask, instance, pids
from uwsgi_async.instance.channel import Channel, pair
from uwsgi_async.instance.control import WorkerProcess
from uwsgi_async.instance.roles import Role
from uwsgi_async.instance.scoreboard import Field, Scoreboard
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.build import build


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def listening(process: Process, pid: int) -> set[str]:
    """The listening sockets that a process has open, by their inodes."""
    port = f":{int(process.url.rpartition(':')[2]):04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if line.split()[1].endswith(port) and line.split()[3] == "0A"}
    links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    return {inode for inode in inodes if f"socket:[{inode}]" in links}


def test_workers_share_a_socket(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        one, two = (listening(process, pid) for pid in pids(process).values())
        assert len(one) == 1
        assert one == two


def test_with_reuse_port_each_worker_has_a_socket_of_its_own(place: Path) -> None:
    with instance(place, "--processes", "2", "--reuse-port") as process:
        one, two = (listening(process, pid) for pid in pids(process).values())
        assert len(one) == len(two) == 1
        assert one != two
        seen = Counter(ask(process)["worker"] for _ in range(40))
        assert set(seen) == {1, 2}
        assert process.output.count("uwsgi-async serves") == 1


def test_with_reuse_port_a_killed_worker_leaves_its_queue_to_the_next_one(place: Path) -> None:
    with instance(place, "--processes", "2", "--reuse-port", "--forkbomb-delay", "0") as process:
        address = ("127.0.0.1", int(process.url.rpartition(":")[2]))
        workers = pids(process).values()
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        clients = [socket.create_connection(address) for _ in range(20)]
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        for client in clients:
            with client:
                client.settimeout(10)
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.0 200 ")


def test_with_reuse_port_another_instance_may_serve_the_same_address(place: Path) -> None:
    with instance(place, "--reuse-port") as process:
        address = process.url.removeprefix("http://")
        status, output = run("--http-socket", address, "app.py", "--callable", "other", "--reuse-port", cwd=place)
        assert status == 22
        assert "has no 'other'" in output


def test_reuse_port_and_cheaper_exclude_each_other(place: Path) -> None:
    words = ("--http-socket", "127.0.0.1:0", "--processes", "4", "--reuse-port", "--cheaper", "1", "app.py")
    status, output = run(*words, cwd=place)
    assert status == 2
    assert "give it without cheaper" in output


def test_a_worker_leads_when_another_one_that_serves_has_far_fewer_connections() -> None:
    board = Scoreboard.create(3)
    channel, other = map(Channel, pair())
    state = SharedState.create(build())
    one = WorkerProcess(Role("worker", 1, 1), os.getpid(), board, channel, (), state)
    assert not one.leads(1000)  # nobody else serves
    board.row(2)[Field.READY] = board.row(3)[Field.READY] = 1
    board.row(2)[Field.CONNECTIONS], board.row(3)[Field.CONNECTIONS] = 1000, 40
    assert [one.leads(connections) for connections in (40, 48, 49, 100)] == [False, False, True, True]
    board.row(3)[Field.CONNECTIONS] = 900
    assert not one.leads(1000)
    assert board.row(1)[Field.CONNECTIONS] == 1000
    for each in (channel, other, state, board):
        each.close()
