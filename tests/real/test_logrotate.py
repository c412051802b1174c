"""With the real logrotate: the log of an instance with workers loses no line while it is rotated under load."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.command import Process
from tests.instance.logged import APP, load, logging_instance, text
from tests.real.parts import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

CONFIG = """
{log} {{
  rotate 100
  missingok
  {ways}
}}
"""


@pytest.fixture(scope="module")
def logrotate() -> str:
    return require("logrotate", "logrotate")


def rotate(logrotate: str, place: Path, ways: str) -> None:
    (place / "config").write_text(CONFIG.format(log=place / "log", ways=ways))
    (place / "config").chmod(0o600)
    command = [logrotate, "--force", "--state", str(place / "state"), str(place / "config")]
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@pytest.mark.parametrize("way", ["create", "a word to the master"])
def test_no_line_is_lost(tmp_path: Path, logrotate: str, way: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    words = ("--logto", "log", "--pidfile", "pid", "--master", "--processes", "2", "--blocking-limit", "0")
    with logging_instance(tmp_path, *words) as process:
        word = f"nocreate\n postrotate\n kill -USR2 $(cat {tmp_path}/pid)\n endscript"
        with load(process) as wanted:
            for _ in range(3):
                rotate(logrotate, tmp_path, "create 0600" if way == "create" else word)
                process.wait_until(lambda: "GET /number" in text(tmp_path / "log"))
        end(process)
    lines = [line for file in tmp_path.glob("log*") for line in file.read_text().splitlines()]
    assert sorted(line.split()[1] for line in lines if line.startswith("number ")) == sorted(wanted)
    asked = [match[1] for line in lines if (match := re.search(r"\] GET /number\?(\d+-\d+) => ", line))]
    assert sorted(asked) == sorted(wanted)
    assert len(list(tmp_path.glob("log.*"))) == 3


def test_copytruncate_goes_on_at_the_beginning(tmp_path: Path, logrotate: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    with logging_instance(tmp_path, "--logto", "log", "--master", "--processes", "2") as process:
        process.get("/number?1")
        process.wait_until(lambda: "GET /number?1" in text(tmp_path / "log"))
        rotate(logrotate, tmp_path, "copytruncate")
        process.get("/number?2")
        process.wait_until(lambda: "GET /number?2" in text(tmp_path / "log"))
        end(process)
    assert text(tmp_path / "log").startswith("number 2\n")
    assert "number 1\n" in text(tmp_path / "log.1")


def end(process: Process) -> None:
    process.popen.send_signal(signal.SIGTERM)
    assert process.end() == 0
