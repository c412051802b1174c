"""Config files of the shapes that deployments have: both servers read the same options and values from them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.parity.oracle import binary
from uwsgi_async.options.commandline import show
from uwsgi_async.options.config.engine import Reading, read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry
from uwsgi_async.options.config.words import WORDS
from uwsgi_async.options.config.world import Machine
from uwsgi_async.options.resolve import names

CONFIGS = Path(__file__).parent / "configs"
FILES = sorted(path.name for path in CONFIGS.iterdir() if path.suffix in (".ini", ".yaml", ".yml"))
ENVIRONMENT = {"TEST_ROOT": "/srv/test", "TEST_USER": "nobody", "PATH": os.environ["PATH"]}

# Ours say nothing about the words that were done with; real uWSGI lists them among the options.
DONE_WITH = {*WORDS} - {"print", "get"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(CONFIGS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "secret.txt").write_text("hidden\n")
    (tmp_path / "list.txt").write_text("alpha\nbeta\n\ngamma\n")
    (tmp_path / "sub").mkdir()
    for name in ("b.conf", "a.conf"):
        (tmp_path / "sub" / name).touch()
    return tmp_path


def told_by_the_oracle(place: Path, name: str) -> list[str]:
    """What real uWSGI prints for --show-config. It says this before anything is opened; then it may end as it likes."""
    with subprocess.Popen(
        [binary(), "--show-config", "--" + kind_of(name), name],
        cwd=place,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(";end of configuration"):
                break
        process.kill()
    text = "\n".join(lines)
    match = re.search(r"\[uwsgi\]\n(.*)\n;end of configuration", text, re.DOTALL)
    assert match is not None, f"real uWSGI did not show its configuration:\n{text}"
    return match[1].split("\n")


def told_by_ours(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(place)
    world = Machine()
    world.environ = ENVIRONMENT
    reading: Reading = read([Entry(kind_of(name), name, COMMAND_LINE)], [], world, lambda word: word in names())
    return show(reading).split("\n")[2:-1]


def kind_of(name: str) -> str:
    return "yaml" if name.endswith((".yaml", ".yml")) else "ini"


def options_in(lines: list[str]) -> list[str]:
    return [line for line in lines if line.partition(" = ")[0] not in DONE_WITH]


@pytest.mark.parametrize("name", FILES)
def test_both_read_the_same(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert options_in(told_by_ours(place, name, monkeypatch)) == options_in(told_by_the_oracle(place, name))


def test_there_are_enough_files() -> None:
    assert len(FILES) >= 30
