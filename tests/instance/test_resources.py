"""What the processes may use of the machine, as the options say: in the workers, with a master and without."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from tests.command import run, server
from uwsgi_async.errors import UsageError
from uwsgi_async.instance.resources import cpus_of, limit_resources
from uwsgi_async.options.build import build

APP = """
import json, os, resource
def application(environ, start_response):
    start_response("200 OK", [])
    limits = [resource.getrlimit(number) for number in (resource.RLIMIT_AS, resource.RLIMIT_NPROC)]
    return [json.dumps([os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)), *limits]).encode()]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.mark.parametrize("master", [(), ("--master",)], ids=["alone", "master"])
def test_workers_have_what_the_options_say(place: Path, master: tuple[str, ...]) -> None:
    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + 5, 19)  # a lower one than now, and a lower limit, need no root
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = 5000 if hard == resource.RLIM_INFINITY else min(hard, 5000)
    words = ("--prio", str(nice), "--cpu-affinity", "1", "--limit-as", "4000", "--limit-nproc", str(most))
    with server(*master, *words, "app.py", cwd=place) as process:
        process.wait_for(r"mapped worker 1 to CPUs: \d+\n")
        assert json.loads(process.get()) == [nice, 1, [4000 << 20] * 2, [most] * 2]


@pytest.mark.parametrize(
    ("worker", "count", "cpus"),
    [(1, 1, {4}), (2, 1, {5}), (5, 1, {4}), (1, 2, {4, 5}), (2, 3, {7, 4, 5}), (1, 9, {4, 5, 6, 7})],
)
def test_workers_get_the_cpus_one_after_the_other(worker: int, count: int, cpus: set[int]) -> None:
    assert cpus_of(worker, count, (4, 5, 6, 7)) == cpus


def test_what_the_system_refuses_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    with pytest.raises(UsageError, match="prio: the system refuses the priority -5: Operation not permitted"):
        limit_resources(build(prio=-5).resources)


def test_a_priority_that_does_not_exist_is_refused(place: Path) -> None:
    status, output = run("--http-socket", "127.0.0.1:0", "--prio", "20", "app.py", cwd=place)
    assert status == 2
    assert "prio" in output
