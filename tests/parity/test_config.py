"""Config files of the shapes that deployments have: both servers list the same options and values, in the same order.

Real uWSGI prints what it has read before it opens anything; then it may end as it likes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from tests.parity.oracle import binary
from uwsgi_async.errors import OptionError
from uwsgi_async.options.commandline import check, configure
from uwsgi_async.options.config.readers import READERS
from uwsgi_async.options.config.world import Machine

CONFIGS = Path(__file__).parent / "configs"
SUFFIXES = (".ini", ".yaml", ".yml")
DEPLOYMENTS = sorted(path.name for path in (CONFIGS / "deployments").iterdir() if path.suffix in SUFFIXES)
RULES = sorted(path.name for path in CONFIGS.iterdir() if path.suffix in SUFFIXES)
_PATIENCE = 20  # seconds for real uWSGI to say what it has read
_DATE = re.compile(r"^\d{4}-\d\d-\d\dT[\d:+-]+ - ")  # one of the files asks for it
ENVIRONMENT = {
    "PATH": os.environ["PATH"], "TEST_ROOT": "/srv/test", "TEST_USER": "nobody", "HOME_OF_nobody": "/nonexistent",
    "PORT": "8080", "APP_MODULE": "shop.wsgi:application", "WEB_CONCURRENCY": "3", "EMPTY": "",
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with everything that the files ask for."""
    shutil.copytree(CONFIGS, tmp_path, dirs_exist_ok=True)
    shutil.copytree(CONFIGS / "deployments", tmp_path, dirs_exist_ok=True)
    (tmp_path / "list.txt").write_text("alpha\nbeta\n\ngamma\n")
    for name in ("sub", "spool/mail", "spool/images", *(f"spool/{number}" for number in range(1, 5))):
        (tmp_path / name).mkdir(parents=True)
    for name in ("b.conf", "a.conf"):
        (tmp_path / "sub" / name).touch()
    (tmp_path / "link.ini").symlink_to("paths.ini")
    (tmp_path / "stdin").write_text("[uwsgi]\nmodule = from.stdin\nname = %n %o %N\n[other]\nmodule = other\n")
    return tmp_path


def told_by_the_oracle(place: Path, words: Sequence[str], environment: dict[str, str]) -> list[str]:
    with (
        (place / "stdin").open() as stdin,
        subprocess.Popen(
            [binary(), "--show-config", *words],
            cwd=place,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        ) as process,
    ):
        watchdog = Timer(_PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(_DATE.sub("", line.rstrip("\n")))
            if lines[-1] == ";end of configuration":
                break
        watchdog.cancel()
        os.killpg(process.pid, signal.SIGKILL)  # it may have begun to start its own processes
        watchdog.join()
    assert lines[-1] == ";end of configuration", "\n".join(lines)
    return lines[lines.index("[uwsgi]") + 1 : -1]


def told_by_ours(
    place: Path, words: Sequence[str], environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What the command prints for the same words; whether it would start then is another matter."""
    world = Machine()
    world.environ = environment
    with suppress(OptionError):
        configure(["--show-config", *words], world)
    lines = capsys.readouterr().out.splitlines()
    return lines[lines.index("[uwsgi]") + 1 : -1]


def assert_both_tell_the_same(
    place: Path,
    words: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str] | None = None,
) -> None:
    environment = ENVIRONMENT | (environment or {})
    monkeypatch.chdir(place)
    with (place / "stdin").open() as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        ours = told_by_ours(place, words, environment, capsys)
    assert ours == told_by_the_oracle(place, words, environment)


def option_of(name: str) -> str:
    return "--ini" if name.endswith(".ini") else "--yaml"


@pytest.mark.parametrize("name", [*DEPLOYMENTS, *RULES])
def test_both_read_the_same_from_a_file(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_both_tell_the_same(place, [option_of(name), name], monkeypatch, capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["paths.ini"],
        ["--ini", "paths.ini:uwsgi"],
        ["--ini", "./sub/../paths.ini"],
        ["--ini", "link.ini"],
        ["flask_tutorial.ini", "lists.yaml", "--processes", "9"],
        ["--ini", "flask_tutorial.ini", "--ini", "paths.ini", "--master"],
        ["--ini", "environments.ini:staging"],
        ["--ini=environments.ini:common"],
        ["--ini", "environments.ini", "--ini", ":staging"],
        ["-p", "3", "-M", "-s", "/tmp/x.sock", "--set", "a=1", "-S", "b=%(a)", "--set-ph=c=%(b)"],
        ["--for", "1 2", "--socket", "127.0.0.1:%(_)", "--endfor", "--module", "x", "--if-env=EMPTY", "-H", "%(_)"],
        ["--master", "--ini", "conditions_options.ini", "--if-opt", "master", "--env", "NO=1"],
        ["--include", "paths.ini", "--ini", "paths.ini"],
        ["--inherit", "chain_base.ini", "--ini", "chain_app.ini"],
        ["--yaml", "sections.yml:staging", "--yml", "sections.yml"],
        ["--ini", "-"],
        ["--set-ph", "app=cli", "chain_app.ini"],
    ],
    ids=" ".join,
)
def test_both_read_the_same_from_a_command_line(
    place: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_both_tell_the_same(place, words, monkeypatch, capsys)


@pytest.mark.parametrize(
    "environment",
    [
        {
            "UWSGI_INI": "flask_tutorial.ini",
            "UWSGI_PROCESSES": "16",
            "UWSGI_CHEAPER": "2",
            "UWSGI_HTTP_SOCKET": ":%(p)",
        },
        {"UWSGI_INCLUDE": "paths.ini", "UWSGI_MASTER": "1", "UWSGI_SET_PH": "p=80", "UWSGI_UNKNOWN_NAME": "x"},
        {"UWSGI_RELOADS": "0", "UWSGI_ORIGINAL_PROC_NAME": "x", "UWSGI_VASSALS_DIR": "/", "UWSGI_M": "1"},
        {"UWSGI_IF_ENV": "PORT", "UWSGI_SOCKET": ":%(_)", "UWSGI_ENDIF": "", "UWSGI_VACUUM": "true"},
    ],
    ids=lambda environment: " ".join(environment),
)
def test_both_read_the_same_from_the_environment(
    place: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--threads", "2", "--ini", "docker_http.ini"]
    assert_both_tell_the_same(place, words, monkeypatch, capsys, environment)


@pytest.mark.parametrize(
    ("text", "theirs", "ours"),
    [
        ("a = 100%\nb = 2", ["a = 100b = 2"], ["a = 100%", "b = 2"]),
        ("# 100%\na = 1\nb = 2", ["b = 2"], ["a = 1", "b = 2"]),
        ("set-ph = a=%(b)\nb = 1\nc = %(a)", ["c = %(b)"], ["c = 1"]),
        ("b = 1\nc = %(empty)%(b)\nempty =", ["c = %(b)"], ["c = 1"]),
    ],
)
def test_a_difference_on_purpose(
    place: Path,
    text: str,
    theirs: list[str],
    ours: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place / "app.ini").write_text(f"[uwsgi]\n{text}\n")
    monkeypatch.chdir(place)
    words = ["--ini", "app.ini"]
    told = told_by_ours(place, words, ENVIRONMENT, capsys), told_by_the_oracle(place, words, ENVIRONMENT)
    for lines, expected, other in zip(told, (ours, theirs), (theirs, ours), strict=True):
        assert [line for line in lines if line in {*expected, *other}] == expected


@pytest.mark.parametrize("kind", ["yaml", "json", "toml"])
def test_the_other_formats_say_the_same_as_ini(
    place: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"module": "shop.wsgi", "processes": "4", "env": ["A=%(module)", "B=%n"], "for": "1 2", "socket": ":%(_)"}
    lines = [f"{key} = {one}" for key, each in options.items() for one in ([each] if isinstance(each, str) else each)]
    quoted = [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    texts = {
        "ini": "\n".join(["[uwsgi]", *lines]),
        "toml": "\n".join(["[uwsgi]", *quoted]),
        "json": json.dumps({"uwsgi": options}),
        "yaml": "uwsgi:\n" + "\n".join(f"  {key}: {json.dumps(value)}" for key, value in options.items()),
    }
    monkeypatch.chdir(place)
    told = []
    for name in ("ini", kind):
        (place / f"app.{name}").write_text(texts[name])
        told.append(told_by_ours(place, [f"--{name}", f"app.{name}"], ENVIRONMENT, capsys)[2:])
    assert told[0] == told[1]
    assert told[0] == told_by_the_oracle(place, ["--ini", "app.ini"], ENVIRONMENT)[2:]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_file_starts_or_one_sentence_a_line_says_why_not(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    world = Machine()
    world.environ = ENVIRONMENT
    text, starts = check([option_of(name), name], world)
    sentences = [line for line in text.partition(";end of configuration")[2].splitlines() if line.startswith("  ")]
    about_all = ("there is no socket", "there is no app", "the environment's ")
    about_lines = [line for line in sentences if not line.lstrip().startswith(about_all)]
    assert all(re.match(r"  [\w./-]+\.(ini|ya?ml):\d+: ", line) for line in about_lines), about_lines
    assert text.endswith("it would start" if starts else "it would not start")
    assert starts or "not possible:" in text


def test_there_are_enough_deployments_and_every_format_has_a_reader() -> None:
    assert len(DEPLOYMENTS) >= 30
    assert {*READERS} >= {"ini", "yaml", "yml", "json", "js", "toml"}
