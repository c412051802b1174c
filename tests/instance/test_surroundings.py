"""Environment and directory: what the options make of them, and the way back for a reload."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgi_async.errors import OptionError, UsageError
from uwsgi_async.instance.surroundings import Surroundings, variables
from uwsgi_async.options.build import build
from uwsgi_async.options.settings import Options


@pytest.fixture(autouse=True)
def _process_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "start"):
        (tmp_path / name).mkdir()
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    time.tzset()


@pytest.fixture
def surroundings() -> Iterator[Surroundings]:
    with Surroundings() as surroundings:
        yield surroundings


def test_variables_are_set_and_removed_in_the_order_of_the_configuration() -> None:
    options = build(env=["A=1", "B=x=y", "C=", "A", "D", "D=4"])
    assert list(variables(options.load)) == [
        ("A", "1"), ("B", "x=y"), ("C", ""), ("A", None), ("D", None), ("D", "4"),
    ]  # fmt: skip


def test_the_environment_is_changed(surroundings: Surroundings) -> None:
    os.environ["GONE"] = "1"
    surroundings.enter(build(env=["GONE", "NEVER_THERE", "NEW=1"]))
    assert "GONE" not in os.environ
    assert os.environ["NEW"] == "1"


def test_the_time_zone_changes_at_once(surroundings: Surroundings) -> None:
    surroundings.enter(build(env="TZ=Asia/Tokyo"))
    assert time.tzname == ("JST", "JST")


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"value", "value"),
        (b"value \t\r\n\n", "value"),
        (b" two\nlines\n", " two\nlines"),
        (b"a\0b", "a\nb"),
        (b"\n", ""),
        (b"", None),
        (b"\xff", "\udcff"),
    ],
)
def test_each_file_of_an_envdir_is_a_variable(tmp_path: Path, content: bytes, value: str | None) -> None:
    (tmp_path / "one" / "NAME").write_bytes(content)
    (tmp_path / "one" / ".hidden").write_text("x")
    (tmp_path / "one" / "directory").mkdir()
    assert list(variables(build(envdir="one").load)) == [("NAME", value)]


def test_an_envdir_is_one_of_the_start_and_counts_more_than_env(tmp_path: Path, surroundings: Surroundings) -> None:
    (tmp_path / "one" / "A").write_text("from the file")
    surroundings.enter(build(envdir="one", env=["A=from the option"], chdir="two"))
    assert os.environ["A"] == "from the file"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"chdir": "none"}, "chdir: cannot change to the directory 'none': No such file or directory"),
        ({"envdir": "none"}, "envdir: cannot read 'none': No such file or directory"),
    ],
)
def test_a_directory_that_is_not_there_is_told(
    surroundings: Surroundings, options: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        surroundings.enter(build(**options))
    assert str(caught.value) == sentence


def test_a_variable_that_no_program_could_be_started_with_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one" / "LARGE").write_bytes(b"x" * 131072)
    with pytest.raises(UsageError, match="expected less than 131072 bytes in a variable"):
        list(variables(build(envdir="one").load))


def test_a_name_that_is_none_is_refused(tmp_path: Path, surroundings: Surroundings) -> None:
    (tmp_path / "one" / "a=b").write_text("x")
    with pytest.raises(UsageError, match="'a=b' cannot be the name of a variable"):
        surroundings.enter(build(envdir="one"))


def test_the_pidfile_stays_where_it_was_meant(tmp_path: Path, surroundings: Surroundings) -> None:
    options = surroundings.enter(build(chdir="one", pidfile="app.pid"))
    assert options.process.pidfile == str(tmp_path / "app.pid")
    assert Path.cwd() == tmp_path / "one"


def test_a_reload_reads_where_and_as_the_start_did(tmp_path: Path, surroundings: Surroundings) -> None:
    surroundings.enter(build(chdir="one", env="A=1"))
    seen: list[tuple[Path, str | None]] = []

    def read() -> Options:
        seen.append((Path.cwd(), os.environ.get("A")))
        return build(chdir="two", env="B=2")

    options = surroundings.enter_again(read)
    assert seen == [(tmp_path, None)]
    assert options.load.chdir == "two"
    assert Path.cwd() == tmp_path / "two"
    assert (os.environ.get("A"), os.environ.get("B")) == (None, "2")


def test_a_reload_reads_in_the_directory_that_is_forced(tmp_path: Path, surroundings: Surroundings) -> None:
    surroundings.enter(build(chdir="one", force_cwd=str(tmp_path / "start")))
    seen: list[Path] = []

    def read() -> Options:
        seen.append(Path.cwd())
        return build(chdir="../two")

    surroundings.enter_again(read)
    surroundings.enter_again(read)
    assert seen == [tmp_path / "start", tmp_path / "start"]
    assert Path.cwd() == tmp_path / "two"


def test_a_reload_that_fails_changes_nothing(tmp_path: Path, surroundings: Surroundings) -> None:
    def fail() -> Options:
        raise OptionError("no")

    surroundings.enter(build(chdir="one", env="A=1", force_cwd="two"))
    for read in (fail, lambda: build(chdir="none", env="B=2")):
        with pytest.raises(UsageError):
            surroundings.enter_again(read)
        assert Path.cwd() == tmp_path / "one"
        assert (os.environ.get("A"), os.environ.get("B")) == ("1", None)


def test_the_directory_of_the_start_may_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("start")
    with Surroundings() as surroundings:
        surroundings.enter(build(chdir=str(tmp_path / "one")))
        (tmp_path / "start").rename(tmp_path / "moved")
        surroundings.enter_again(build)
        assert Path.cwd() == tmp_path / "moved"
