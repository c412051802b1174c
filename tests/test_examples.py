"""The examples and the README do what they say."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.command import ROOT, program, server

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PROGRAMS = [path for path in EXAMPLES if "__main__" in path.read_text()]
APPS = [path for path in EXAMPLES if path not in PROGRAMS]


@pytest.mark.parametrize("path", APPS, ids=lambda path: path.name)
def test_an_app_of_the_examples_is_served(path: Path) -> None:
    with server(str(path)) as process:
        assert process.get()
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        assert "Traceback" not in process.output


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_program_of_the_examples_serves_until_it_is_interrupted(path: Path) -> None:
    with program(sys.executable, "-u", str(path)) as process:
        process.url = process.wait_for(r"http://\S+")[0]
        assert process.get()
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == 0
        assert "Traceback" not in process.output


def test_the_program_of_the_readme_serves(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "program.py").write_text(code)
    with program(sys.executable, "-u", str(tmp_path / "program.py")) as process:
        process.url = process.wait_for(r"http://\S+")[0]
        assert process.get() == b"hello"
