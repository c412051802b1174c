"""The page about RPC, messages and sockets says what happens."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.command import ROOT, program, server

PAGE = (ROOT / "docs/rpc.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_first_app_calls_its_own_function(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BLOCKS[0])
    with server("app.py", cwd=tmp_path) as process:
        assert process.get() == b"hello world"
        assert "Traceback" not in process.output


def test_the_program_calls_itself_over_a_socket(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(BLOCKS[1].replace('"@hello"', f'"{tmp_path}/hello.sock"'))
    with program(sys.executable, "-u", str(tmp_path / "program.py")) as process:
        assert process.end() == 0
        assert process.output == "b'hello world'\n"


def test_the_app_with_messages_hands_requests_on(tmp_path: Path) -> None:
    other = f"{tmp_path}/other.sock"
    (tmp_path / "app.py").write_text(BLOCKS[2].replace("/run/other.sock", other))
    (tmp_path / "hello.py").write_text((ROOT / "examples/hello.py").read_text())
    with server("--socket", other, "hello.py", cwd=tmp_path), server("app.py", cwd=tmp_path) as process:
        assert process.get("/elsewhere") == b"hello\n"
        assert process.get("/") == b"hello\n"
        assert "Traceback" not in process.output


def test_the_app_with_sockets_says_when_nobody_is_there(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        BLOCKS[3].replace("127.0.0.1:7", f"{tmp_path}/nobody.sock").replace("502 Bad Gateway", "200 OK")
    )
    with server("app.py", cwd=tmp_path) as process:
        assert process.get() == b"nobody is there"


def test_the_alarms_are_understood(tmp_path: Path) -> None:
    (config,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "app.ini").write_text(config + "wsgi-file = app.py\nmules = 1\n")
    (tmp_path / "app.py").write_text(
        "import uwsgi\n"
        "def application(environ, start_response):\n"
        "    uwsgi.alarm('note', 'a request')\n"
        "    start_response('200 OK', [])\n"
        "    return [b'x']\n"
    )
    with server("--ini", "app.ini", cwd=tmp_path) as process:
        process.get()
        process.wait_for("ALARM: attention a request")
