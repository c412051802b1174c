"""kill -9 of writers at random: a file is a whole task, or, without sync, empty; what was confirmed is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uwsgi_async.spooler.task import Task, decode_task

KILLS = 3
LONGEST = 0.02  # seconds that a writer may write

WRITER = """
import itertools, os, sys
from uwsgi_async.spooler.task import Task
from uwsgi_async.spooler.writing import write_plain, write_task

for number in itertools.count():
    n = str(number).encode()
    {call}
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize(
    ("call", "body", "may_be_empty"),
    [
        ("write_plain(sys.argv[1], {'n': n})", b"", True),
        ("write_task(sys.argv[1], Task({b'n': n}, b'body'), sync=False)", b"body", False),
        ("write_task(sys.argv[1], Task({b'n': n}, b'body'))", b"body", False),
    ],
    ids=["plain", "without sync", "synced"],
)
def test_a_killed_writer_leaves_no_part_of_a_task(tmp_path: Path, call: str, body: bytes, may_be_empty: bool) -> None:
    confirmed = empty = 0
    for kill in range(KILLS):
        directory = tmp_path / str(kill)
        directory.mkdir()
        words = [sys.executable, "-c", WRITER.replace("{call}", call), str(directory)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            said = writer.stdout.readline()
            time.sleep(random.random() * LONGEST)
            writer.kill()
            said += writer.stdout.read()
        numbers = said[: said.rindex(b"\n")].split(b"\n")
        contents = [path.read_bytes() for path in directory.iterdir()]
        empty += contents.count(b"")
        found = {task.fields[b"n"]: task for task in map(decode_task, filter(None, contents))}
        assert set(numbers) <= found.keys()
        assert len(found) <= len(numbers) + 1
        assert all(task == Task({b"n": number}, body) for number, task in found.items())
        confirmed += len(numbers)
    assert confirmed >= KILLS
    assert empty <= (KILLS if may_be_empty else 0)
