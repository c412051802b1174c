"""The apps of docs/websockets.md do what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.command import ROOT, server
from tests.websockets.client import CLOSE, Frame, close_payload
from tests.websockets.plain import PlainClient

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/websockets.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["async", "sync"])
def test_an_app_of_the_page_sends_messages_back(tmp_path: Path, block: str) -> None:
    (tmp_path / "app.py").write_text(block)
    with server(str(tmp_path / "app.py"), "--async", "10") as process:
        with PlainClient(int(process.url.rpartition(":")[2])) as ws:
            ws.say("hello")
            assert ws.text() == "hello"
            assert ws.leave() == Frame(0x80 | CLOSE, close_payload(1000))
        assert "Traceback" not in process.output
