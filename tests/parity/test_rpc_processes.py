"""Which processes know which functions, and which may register one: the same in both servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.noted import both_started

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]


def test_each_process_knows_what_was_registered_at_import_and_a_worker_may_add_its_own(tmp_path: Path) -> None:
    with both_started("rpc_processes.py", tmp_path, "--mule") as servers:
        oracle, ours = (sorted(server.lines(3)) for server in servers)
    assert ours == oracle
    assert ours == [
        'mule1 ["ValueError", ["decorated", "plain"], "b\'a-b\'", "None"]',
        'worker1 [true, ["decorated", "plain", "own"], "b\'a-b\'", "b\'own\'"]',
        'worker2 ["-", ["decorated", "plain"], "b\'a-b\'", "None"]',
    ]
