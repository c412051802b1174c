"""The programs of docs/asgi.md do what the page says."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

from tests.command import ROOT, program

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/asgi.md").read_text(), re.DOTALL)


def test_the_first_program_serves(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(BLOCKS[0])
    with program(sys.executable, "-u", str(tmp_path / "program.py")) as process:
        process.url = process.wait_for(r"http://\S+")[0]
        assert process.get() == b"hello"
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == 0


def test_the_app_with_services_counts_under_uvicorn(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "site_app.py").write_text(BLOCKS[1].replace("/var/spool/site", str(tmp_path / "spool")))
    words = ("uvicorn", "site_app:app", "--port", "0", "--lifespan", "on")
    with program(sys.executable, "-m", *words, cwd=tmp_path) as process:
        process.url = process.wait_for(r"running on (http://\S+)")[1]
        assert process.get() == b'{"visits":true}'
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert "Traceback" not in process.output
