"""Which modules a process reports, and which the master finds changed."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgi_async.instance.channel import Sources
from uwsgi_async.instance.sources import CHANGED, MISSING, SourceReporter, WatchedSources, stamp_source

HOUR = 3600 * 10**9  # nanoseconds


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to import from, and nothing of it stays imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str = "", age: int = HOUR) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(time.time_ns() - age,) * 2)
    importlib.invalidate_caches()
    return path


def reported(reporter: SourceReporter) -> dict[str, tuple[str, int]]:
    return {name: (path, stamp) for sources in reporter.report() for name, path, stamp in sources.files}


def reporter_of_new_modules() -> SourceReporter:
    reporter = SourceReporter()
    reported(reporter)
    reporter.begin()
    return reporter


def test_each_module_is_reported_once_with_its_file(place: Path) -> None:
    one, two = write(place / "one_module.py"), write(place / "two_module.py")
    reporter = reporter_of_new_modules()
    importlib.import_module("one_module")
    assert reported(reporter) == {"one_module": (str(one), one.stat().st_mtime_ns)}
    importlib.import_module("two_module")
    assert reported(reporter) == {"two_module": (str(two), two.stat().st_mtime_ns)}
    assert reported(reporter) == {}


def test_modules_without_a_file_and_ignored_ones_are_left_out() -> None:
    names = reported(SourceReporter(["json"]))
    assert "pytest" in names
    assert "sys" not in names
    assert "json" not in names


def test_a_report_comes_in_messages_of_bounded_size() -> None:
    messages = list(SourceReporter().report())
    assert len(messages) > 1
    assert max(len(message.files) for message in messages) <= 200


def test_a_file_that_was_changed_while_it_was_loaded_is_known_by_that(place: Path) -> None:
    reporter = reporter_of_new_modules()
    write(place / "one_module.py", age=0)
    importlib.import_module("one_module")
    assert reported(reporter)["one_module"][1] == CHANGED


def test_a_file_from_the_future_is_taken_as_it_is(place: Path) -> None:
    reporter = reporter_of_new_modules()
    path = write(place / "one_module.py", age=-HOUR)
    importlib.import_module("one_module")
    assert reported(reporter)["one_module"][1] == path.stat().st_mtime_ns


def failure(name: str) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the matter of the test
        importlib.import_module(name)
    return caught.value


def blamed(error: Exception) -> dict[str, int]:
    return {path: stamp for sources in SourceReporter().report_failure(error) for _, path, stamp in sources.files}


def test_a_file_with_a_syntax_error_is_to_blame_and_so_is_who_imports_it(place: Path) -> None:
    outer = write(place / "outer_module.py", "import inner_module")
    inner = write(place / "inner_module.py", "syntax error")
    assert {str(outer), str(inner)} <= blamed(failure("outer_module")).keys()


@pytest.mark.parametrize("name", ["inner_module", "package_module.inner_module"])
def test_a_module_that_is_missing_is_looked_for_where_it_may_be_written(place: Path, name: str) -> None:
    write(place / "package_module" / "__init__.py")
    write(place / "outer_module.py", f"import {name}")
    expected = place / Path(*name.split("."))
    found = blamed(failure("outer_module"))
    assert found[f"{expected}.py"] == MISSING
    assert found[f"{expected}/__init__.py"] == MISSING


def test_a_cause_is_followed(place: Path) -> None:
    path = write(place / "one_module.py", "1 / 0")
    error = RuntimeError("cannot load")
    error.__cause__ = failure("one_module")
    assert str(path) in blamed(error)


# --- the master's side ------------------------------------------------------------------------------------------


def watched(*paths: Path, before: WatchedSources | None = None, stamp: int | None = None) -> WatchedSources:
    sources = WatchedSources(before)
    sources.add(
        Sources([(path.stem, str(path), stamp_source(str(path)) if stamp is None else stamp) for path in paths])
    )
    return sources


def test_a_module_that_was_changed_is_named_once(place: Path) -> None:
    one, two = write(place / "one.py"), write(place / "two.py")
    sources = watched(one, two)
    assert sources.look() == []
    write(two, age=0)
    assert sources.look() == [f"two ({two})"]
    assert sources.look() == []


def test_a_module_that_is_removed_or_appears_is_named(place: Path) -> None:
    path = write(place / "one.py")
    sources = watched(path)
    path.unlink()
    assert sources.look() == [f"one ({path})"]
    write(path)
    assert sources.look() == [f"one ({path})"]


def test_the_first_report_of_a_file_counts(place: Path) -> None:
    path = write(place / "one.py")
    sources = watched(path)
    write(path, age=0)
    sources.add(Sources([("one", str(path), stamp_source(str(path)))]))
    assert sources.look() == [f"one ({path})"]


def test_a_file_that_loading_changes_is_loaded_twice_and_not_forever(place: Path) -> None:
    path = write(place / "one.py")
    first = watched(path, stamp=CHANGED)
    assert first.look() == [f"one ({path})"]
    assert watched(path, before=first, stamp=CHANGED).look() == []


def test_what_another_generation_has_loaded_is_watched_too(place: Path) -> None:
    one, two = write(place / "one.py"), write(place / "two.py")
    sources = watched(one)
    sources.update(watched(two))
    write(two, age=0)
    assert sources.look() == [f"two ({two})"]
