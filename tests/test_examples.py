"""The examples and the README do what they say."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.command import ROOT, program, run, server

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PROGRAMS = [path for path in EXAMPLES if "__main__" in path.read_text()]
TASKS = ROOT / "examples/tasks.py"
APPS = [path for path in EXAMPLES if path not in (*PROGRAMS, TASKS)]


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


def test_the_example_of_the_spooler_runs_tries_again_and_gives_up(tmp_path: Path) -> None:
    directory = tmp_path / "tasks"
    words = ("--spooler", str(directory), "--spooler-cores", "10", "--spooler-retries", "2")
    with server("--wsgi-file", str(TASKS), *words, "--spooler-retry-delay", "0.05", "--master") as process:
        for what in ("welcome?ann", "thumbnails?cat", "charge?ann", "import?nonsense"):
            assert process.get(f"/{what}") == b"it will be done\n"
        for said in (r"sent a welcome to ann", *(f"made cat, {width} wide" for width in (100, 200, 400))):
            process.wait_for(said)
        process.wait_for(r"(?s)the bank does not answer.*charged ann")
        process.wait_for("given up after 3 runs")
        status, shown = run("spool", "show", str(directory / "dead-letter"))
        assert status == 0
        assert "number = nonsense" in shown
        assert "ValueError: invalid literal for int()" in shown
        process.wait_until(lambda: run("spool", "schedule", str(directory)) == (0, f"{directory}\nno tasks\n"))
        assert run("spool", "retry", str(directory)) == (0, "1 put back\n")
        process.wait_until(lambda: process.output.count("given up after 3 runs") == 2)


# --- docs/signals.md: the first two blocks are apps, the third is a program -----------------------------------------

SIGNALS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/signals.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("block", "answer", "said"),
    [(0, b"raised", "tidied up"), (1, b"answered", "connected")],
    ids=["uwsgi", "decorators"],
)
@pytest.mark.parametrize("how", [(), ("--master",)], ids=["alone", "master"])
def test_an_app_of_the_page_about_signals_does_what_it_says(
    tmp_path: Path, how: tuple[str, ...], block: int, answer: bytes, said: str
) -> None:
    (tmp_path / "app.py").write_text(SIGNALS[block])
    with server("app.py", *how, cwd=tmp_path) as process:
        assert process.get() == answer
        process.wait_for(said)
        assert "Traceback" not in process.output


def test_the_program_of_the_page_about_signals_ticks(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SIGNALS[2])
    with program(sys.executable, "-u", str(tmp_path / "program.py")) as process:
        assert process.end() == 0
        assert "tick\ntick\n" in process.output
