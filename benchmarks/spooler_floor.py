"""python -m benchmarks.spooler_floor: what cannot be avoided, alone: the system calls of a task, from Python.

For the notes of docs/benchmarks-spooler.md: a goal that is below the floor cannot be met without compiled code of our
own. Each value is the best of some batches; the names are made before. ``both at once`` is one process that writes
files in their places, and one that knows their names and runs them: nothing is encoded, found, or called.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import struct
import tempfile
import time
from collections.abc import Callable

BATCHES, TASKS = 9, 5000

CONTENT = b"\x11\x17\0\0\x01\0w\x12\0" + b"1" * 18
LOCK = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
UNNAMED = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
CLAIM = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def fill(paths: list[str]) -> None:
    for path in paths:
        write_in_place(path)


def write_in_place(path: str) -> None:
    """Write a file where it is seen before it is whole."""
    fd = os.open(path, NEW, 0o600)
    os.write(fd, CONTENT)
    os.close(fd)


def write_as_uwsgi(path: str) -> None:
    """Make the system calls of real uWSGI."""
    fd = os.open(path, NEW, 0o600)
    fcntl.fcntl(fd, fcntl.F_SETLK, LOCK)
    os.write(fd, CONTENT[:4])
    os.write(fd, CONTENT[4:])
    os.close(fd)


def write_and_rename(path: str) -> None:
    temporary = f"{path[:-1]}x"
    fd = os.open(temporary, NEW, 0o600)
    os.write(fd, CONTENT)
    os.close(fd)
    os.rename(temporary, path)


def write_and_link(path: str) -> None:
    """Write a file without a name, and give it one, as we do."""
    fd = os.open(path.rpartition("/")[0], UNNAMED, 0o600)
    os.write(fd, CONTENT)
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)


def run(path: str) -> None:
    """Take a task and delete it, as we do: everything but what the task itself does."""
    fd = os.open(path, CLAIM)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, LOCK)
    os.fstat(fd)
    os.read(fd, 4096)
    os.unlink(path)
    os.close(fd)


def run_when_there(path: str) -> None:
    """Wait for a file by trying, and run it."""
    while True:
        try:
            return run(path)
        except FileNotFoundError:
            pass


def nothing(path: str) -> None:
    pass


STEPS: dict[str, tuple[Callable[[str], None], bool]] = {
    "write a file in its place": (write_in_place, False),
    "write a file as real uWSGI does": (write_as_uwsgi, False),
    "write a file and rename it": (write_and_rename, False),
    "write a file without a name, and link it": (write_and_link, False),
    "open, lock, fstat, read, unlink, close": (run, True),
}


def measure(step: Callable[[str], None], filled: bool, directory: str | None) -> float:
    """Return the seconds that a step takes for one task."""
    best = float("inf")
    for _ in range(BATCHES):
        with tempfile.TemporaryDirectory(dir=directory) as place:
            paths = names(place)
            if filled:
                fill(paths)
            began = time.perf_counter()
            for path in paths:
                step(path)
            best = min(best, time.perf_counter() - began)
    return best / TASKS


def measure_both(directory: str | None) -> float:
    """Return the seconds for one task when a child writes what this process runs."""
    best = float("inf")
    for _ in range(BATCHES):
        with tempfile.TemporaryDirectory(dir=directory) as place:
            paths = names(place)
            child = os.fork()
            if not child:
                time.sleep(0.05)  # the other one is waiting for the first by then
                fill(paths)
                os._exit(0)
            run_when_there(paths[0])
            began = time.perf_counter()
            for path in paths[1:]:
                run_when_there(path)
            best = min(best, time.perf_counter() - began)
            os.waitpid(child, 0)
    return best / (TASKS - 1)


def names(place: str) -> list[str]:
    return [f"{place}/uwsgi_spoolfile_on_host_12345_{n}_{n * 7919}_1767225600_{n}" for n in range(TASKS)]


def floors(directory: str | None) -> dict[str, float]:
    """Return the seconds for one task by what is done."""
    loop = measure(nothing, False, directory)
    found = {name: measure(step, filled, directory) - loop for name, (step, filled) in STEPS.items()}
    return {**found, "both at once": measure_both(directory)}


def lines(found: dict[str, float]) -> list[str]:
    return [f"{name:<44}{seconds * 1e6:6.2f} us {1 / seconds:9,.0f}/s" for name, seconds in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spooler_floor", description=__doc__)
    parser.add_argument("--directory", help="where the files are; the default is the system's for temporary files")
    print(*lines(floors(parser.parse_args().directory)), sep="\n")


if __name__ == "__main__":
    main()
