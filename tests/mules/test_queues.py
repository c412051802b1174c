"""The queues of mules: what is sent comes out once, whole, in its order, or the sender is told."""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import OptionError
from uwsgi_async.mules.queues import MessageQueue, MuleQueues
from uwsgi_async.options.mules import MuleOptions


@pytest.fixture
def queue() -> Iterator[MessageQueue]:
    made = MessageQueue.create("mule 1", 0)
    yield made
    made.close()


def drained(queue: MessageQueue) -> list[bytes]:
    return list(iter(lambda: queue.take(65536), None))


@given(st.lists(st.binary(max_size=200), max_size=50))
def test_messages_keep_their_bounds_and_their_order(messages: list[bytes]) -> None:
    queue = MessageQueue.create("mule 1", 0)
    try:
        assert all(queue.send(message) for message in messages)
        assert queue.waiting == sum(map(len, messages))
        assert drained(queue) == messages
    finally:
        queue.close()


def test_a_full_queue_refuses_and_keeps_what_it_has(queue: MessageQueue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        taken = next(number for number in range(100_000) if not queue.send(b"%d" % number))
        assert not queue.send(b"another one")
    assert drained(queue) == [b"%d" % number for number in range(taken)]
    assert queue.send(b"there is room again")
    (line,) = caplog.messages  # not one for each message
    assert "mule 1" in line
    assert "--mule-msg-size" in line


def test_a_message_longer_than_the_queue_is_refused(queue: MessageQueue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert not queue.send(bytes(queue.size + 1))
    assert "Message too long" in caplog.text
    assert drained(queue) == []


def test_of_a_message_longer_than_the_buffer_the_rest_is_lost_and_told(
    queue: MessageQueue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.send(b"0123456789")
    queue.send(b"next")
    with caplog.at_level(logging.ERROR):
        assert queue.take(4) == b"0123"
    assert "cut to 4 bytes" in caplog.text
    assert queue.take(4) == b"next"
    assert len(caplog.messages) == 1


def test_a_size_makes_room_for_more() -> None:
    small, large = MessageQueue.create("a", 10_000), MessageQueue.create("b", 100_000)
    try:
        counts = [next(number for number in range(10_000) if not queue.send(b"x" * 100)) for queue in (small, large)]
        assert counts[0] < counts[1]
    finally:
        small.close()
        large.close()


def test_what_another_process_attaches_to_is_the_same_queue() -> None:
    queues = MuleQueues.create(MuleOptions(farm=("web:1,2",)), 2)
    assert queues is not None
    shared, own, farms, members, secret = queues.described()
    copied = [[os.dup(fd) for fd in fds] for fds in (shared, *own, *farms.values())]
    attached = MuleQueues.attach([copied[0], copied[1:3], {"web": copied[3]}, members, secret])
    assert attached.secret == queues.secret
    try:
        for queue, message in zip(queues.all(), (b"shared", b"one", b"two", b"web"), strict=True):
            queue.send(message)
        assert [queue.take(100) for queue in attached.all()] == [b"shared", b"one", b"two", b"web"]
        assert attached.farms_of(2) == ["web"]
    finally:
        attached.close()
        queues.close()


def test_without_mules_there_are_no_queues() -> None:
    assert MuleQueues.create(MuleOptions(), 0) is None


def test_a_user_who_may_not_ask_for_more_memory_is_told_what_the_system_gives(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()

    class Poor(socket.socket):
        def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore[override]
            asked.append(option)
            if option != socket.SO_SNDBUF:
                raise PermissionError

    def poor_pair(*_arguments: object) -> tuple[socket.socket, socket.socket]:
        ours, theirs = pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Poor(fileno=ours.detach()), theirs

    pair = socket.socketpair
    monkeypatch.setattr(socket, "socketpair", poor_pair)
    with caplog.at_level(logging.WARNING):
        MessageQueue.create("mule 1", 1 << 30).close()
    assert asked[-1] == socket.SO_SNDBUF
    assert "net.core.wmem_max" in caplog.text


def test_too_many_mules_for_the_descriptors_of_a_process_are_refused_and_nothing_stays_open() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        with pytest.raises(OptionError, match=r"101 queues need two sockets each.*ulimit -n"):
            MuleQueues.create(MuleOptions(), 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
