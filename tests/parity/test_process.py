"""What an app is told of its process and its instance is what real uWSGI tells, with a master and without."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.oracle import require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

Both = dict[str, Running]


@pytest.fixture(scope="module", params=["master", "alone"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The oracle and our server, with the same app."""
    require()
    tmp = tmp_path_factory.mktemp("parity")
    words = ["--mode", "green", "--pidfile", str(tmp / "pid"), "--procname-prefix", "pre-"]
    if request.param == "master":
        words += ["--master", "--processes", "1"]
    with start_oracle("process.py", tmp, *words) as oracle, start_ours("process.py", tmp, *words) as ours:
        yield {"oracle": oracle, "ours": ours}


@pytest.fixture(scope="module")
def told(both: Both) -> dict[str, dict[str, Any]]:
    """What each app says about itself at its first request."""
    return {name: json.loads(running.request("GET", "/").body) for name, running in both.items()}


def test_each_call_gives_the_same(told: dict[str, dict[str, Any]]) -> None:
    assert told["ours"] == told["oracle"]


def test_hooks_run_at_the_same_places(both: Both) -> None:
    for running in both.values():
        running.log_until(lambda log: re.search(r"forked into worker 1\n", log))
        running.log_until(lambda log: re.search(r"hook of request \d+\n.*GET / => generated", log))


def test_an_app_goes_on_when_it_has_disconnected_the_client(both: Both) -> None:
    for running in both.values():
        with pytest.raises((OSError, http.client.HTTPException)):
            running.request("GET", "/disconnect")
        running.log_until(lambda log: re.search("goes on after the end", log))
