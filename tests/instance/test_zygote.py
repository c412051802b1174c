"""The zygote as the master's fork: what it has of the master, and what it must not have."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.instance.harness import ask, await_reload, change, hang_up, instance, pid_of
from uwsgi_async.instance.channel import MOST_FDS, Channel, End, Hold, pair
from uwsgi_async.instance.prefork import fork_zygote
from uwsgi_async.instance.zygote import hold


def files(pid: int) -> dict[int, str]:
    """What each file descriptor of a process is."""
    return {int(each.name): os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}


def test_it_is_a_fork_and_has_none_of_the_masters_files_but_the_held_ones(place: Path) -> None:
    with instance(place, "--pidfile", "app.pid", "--stats", "stats.sock", "--master-fifo", "fifo") as process:
        zygote, master = pid_of(process, "zygote"), process.popen.pid
        command = Path(f"/proc/{zygote}/cmdline").read_bytes()
        assert b"--master-fifo" in command, "it has the command line of the master that it is a fork of"
        of_master, of_zygote = files(master), files(zygote)
        shared = {of_zygote[fd] for fd in of_zygote if fd > 2} & set(of_master.values())
        listening = [fd for fd, what in of_zygote.items() if what == of_master.get(fd) and what.startswith("socket:")]
        assert listening, "the sockets have the master's numbers"
        assert not [what for what in shared if what.endswith(("app.pid", "fifo", "[eventpoll]"))]


def test_an_instance_may_have_more_sockets_than_one_message_takes(place: Path) -> None:
    words = [word for number in range(MOST_FDS + 3) for word in ("--socket", f"app{number}.sock")]
    with instance(place, *words) as process:
        change(place)
        hang_up(process)
        await_reload(process)
        assert ask(process)["worker"] == 1
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(place / f"app{MOST_FDS + 2}.sock"))


def test_where_it_cannot_be_forked_it_is_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError

    monkeypatch.setattr(os, "fork", refuse)
    assert fork_zygote("asyncio") is None


def test_descriptors_are_held_under_the_numbers_that_others_have_at_the_moment() -> None:
    ours, theirs = pair()
    channel = Channel(theirs)
    pipes = [os.pipe() for _ in range(3)]
    numbers = [theirs.fileno(), pipes[0][0], pipes[1][0]]  # the channel's own, and those of each other
    given = [os.dup(pipes[at][0]) for at in range(3)]
    held = hold(Hold(numbers, above=max(numbers) + 1), given, channel)
    try:
        for (_, write), number in zip(pipes, numbers, strict=True):
            os.write(write, b"%d" % number)
            assert os.read(number, 10) == b"%d" % number
            assert os.get_inheritable(number)
        assert held.fileno() > max(numbers)
        ours.send(b'["End", {}]')
        assert isinstance(held.receive_blocking()[0], End)
    finally:
        held.close()
        ours.close()
        for number in {*numbers, pipes[2][0], *(write for _, write in pipes)}:
            os.close(number)
