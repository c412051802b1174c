"""The app of docs/shared-state.md does what the page says."""

from __future__ import annotations

import re
import shlex
import threading
from pathlib import Path

from tests.command import ROOT, server


def test_the_app_of_the_page_works_with_the_options_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/shared-state.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (command,) = re.findall(r"\$ uwsgi-async --http-socket \S+ (.*)", page)
    (tmp_path / "app.py").write_text(code)
    with server(*shlex.split(command), cwd=tmp_path) as process:
        assert [process.get(), process.get()] == [b"visit 1\n", b"visit 2\n"]
        pulled: list[bytes] = []
        waiting = threading.Thread(target=lambda: pulled.append(process.get("/pull")))
        waiting.start()
        assert process.get("/push") == b"pushed\n"
        waiting.join()
        assert pulled == [b"a job\n"]
