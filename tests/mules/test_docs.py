"""The programs of docs/mules.md do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.command import ROOT, server


def test_the_app_and_the_program_of_the_page_work_with_the_options_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/mules.md").read_text()
    app, work, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (command,) = re.findall(r"\$ uwsgi-async --http-socket \S+ (.*)", page)
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "work.py").write_text(work)
    with server(*shlex.split(command), cwd=tmp_path) as process:
        assert process.get("/greeting?hello") == b"sent\n"
        process.wait_until(lambda: process.get("/greeting") == b"HELLO\n")
    with server(*shlex.split(command.replace("--mules 2", "--mule=work:main")), cwd=tmp_path) as process:
        assert process.get("/greeting?hello") == b"sent\n"
        process.wait_for("done: greeting hello")


@pytest.mark.parametrize("how", [(), ("--master",)], ids=["alone", "master"])
def test_the_decorated_functions_of_the_page_run_in_their_mules(tmp_path: Path, how: tuple[str, ...]) -> None:
    *_, decorated = re.findall(r"```python\n(.*?)```", (ROOT / "docs/mules.md").read_text(), re.DOTALL)
    (tmp_path / "decorated.py").write_text(decorated)
    with server("--mules", "2", "--farm", "web:2", *how, "decorated.py", cwd=tmp_path) as process:
        assert process.get() == b"sent"
        process.wait_for("resized photo.jpg 50")
        process.wait_for("received hello")
