"""Several processes: forks, deaths at any moment, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.state.cache.forking import CASES
from uwsgi_async.state.cache import place

KILLS = os.environ.get("CACHE_KILLS", "60")  # 1000 of them are some million operations
SPECS = {
    "plain": "items=200,blocksize=4096",
    "bitmap": "items=200,blocksize=64,blocks=400,bitmap,ignore_full",
    "lru": "items=60,blocksize=9000,purge_lru,ignore_full",
    "lazy": "items=60,blocksize=300,lazy_expire,ignore_full",
    "store": "items=200,blocksize=4096,store={store}",
}


def run(*words: str) -> str:
    timeout = 40 + int(KILLS) / 5
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_through_forks(case: str) -> None:
    run("tests.state.cache.forking", case)


@pytest.mark.timeout(100 + int(KILLS) / 5)
@pytest.mark.parametrize("name", SPECS)
def test_processes_that_are_killed_at_any_moment_lose_nothing_and_block_nobody(name: str, tmp_path: Path) -> None:
    spec = SPECS[name].format(store=tmp_path / "store")
    told = run("tests.state.cache.crash", "--kills", KILLS, "--spec", spec)
    assert "nothing was lost" in told
    print(f"{name}: {told.strip()}")


def test_a_name_that_a_killed_process_has_left_is_removed() -> None:
    parent, namespace = Path(place._parent()), place._namespace()
    left = parent / f"uwsgi_async.{namespace}.999999999.abc"
    ours = parent / f"uwsgi_async.{namespace}.{os.getpid()}.abc"
    others = parent / "uwsgi_async.1.999999999.abc"
    for each in (left, ours, others):
        each.mkdir()
    (left / "data.mdb").symlink_to("/proc/self/fd/999")
    try:
        place.sweep_places()
        assert [each.exists() for each in (left, ours, others)] == [False, True, True]
    finally:
        for each in (ours, others):
            each.rmdir()
