"""For every test: the three event loops, hypothesis' profiles, and the check that nothing is left open."""

import gc
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import uvloop

# A test on a busy machine is slow now and then, and that is no bug. Under CI the same examples are tried in each run,
# so a failure there is never a matter of luck; new examples are found by developers and by the fuzz sessions.
hypothesis.settings.register_profile("developer", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "developer")

# Threads that end by themselves: trio keeps its idle worker threads for ten seconds.
LINGERING_THREADS = ("Trio thread",)
THREAD_PATIENCE = 1.0

# The first loop of uvloop opens a pipe that stays for the life of the process (libuv's pipe for signals). Open it
# here, so that it is not taken for a leak of the first test that uses uvloop.
uvloop.new_event_loop().close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run the async tests on each event loop."""
    return request.param


def open_fds() -> dict[int, str]:
    """Return this process's open file descriptors and what each is."""
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor that listed the directory
            pass
    return fds


def new_fds(before: dict[int, str]) -> dict[int, str]:
    return {fd: what for fd, what in open_fds().items() if before.get(fd) != what}


def new_threads(before: set[threading.Thread]) -> list[str]:
    return sorted(
        thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith(LINGERING_THREADS)
    )


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a file descriptor or a thread behind."""
    fds, threads = open_fds(), set(threading.enumerate())
    yield
    if new_fds(fds):
        gc.collect()  # only now: a collection after each test would cost more than most tests
    deadline = time.monotonic() + THREAD_PATIENCE
    while new_threads(threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not new_fds(fds), f"left open: {new_fds(fds)}"
    assert not new_threads(threads), f"still running: {new_threads(threads)}"
