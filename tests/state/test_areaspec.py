"""What the options of shared areas mean, and what is refused, before any memory is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uwsgi_async.errors import OptionError
from uwsgi_async.options.settings import SharedAreaOptions
from uwsgi_async.state.areaspec import AreaSpec, area_specs

PAGE = os.sysconf("SC_PAGE_SIZE")


def specs(*texts: str, py: tuple[str, ...] = ()) -> list[AreaSpec]:
    return area_specs(SharedAreaOptions(sharedarea=texts, py_sharedarea=py))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "area"
    path.write_bytes(b"\0" * 3 * PAGE)
    return path


@pytest.mark.parametrize(
    ("text", "size"),
    [("2", 2), ("pages=3", 3), ("size=100", 1), (f"size={PAGE}", 1), ("size=0x1001", 2), ("pages=5,size=100", 5)],
)
def test_memory_comes_in_whole_pages(text: str, size: int) -> None:
    assert specs(text) == [AreaSpec(size * PAGE)]


def test_areas_are_numbered_in_their_order_and_those_of_py_sharedarea_come_last() -> None:
    assert specs("1", "pages=2", py=("100",)) == [AreaSpec(PAGE), AreaSpec(2 * PAGE), AreaSpec(100)]


@pytest.mark.parametrize(
    ("words", "size", "offset"),
    [
        ("", 3 * PAGE, 0),
        (",size=10", 10, 0),
        (f",offset={PAGE}", 2 * PAGE, PAGE),
        (f",offset={2 * PAGE},pages=1", PAGE, 2 * PAGE),
    ],
)
@pytest.mark.parametrize("key", ["file", "fd"])
def test_files(path: Path, key: str, words: str, size: int, offset: int) -> None:
    with path.open("r+b") as file:
        (spec,) = specs(f"{key}={path if key == 'file' else file.fileno()}{words}")
    assert (spec.size, spec.offset) == (size, offset)
    assert spec.fd is not None
    assert os.fstat(spec.fd).st_ino == path.stat().st_ino
    os.close(spec.fd)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "from 1 to"),
        ("-1", "from 1 to"),
        ("two", "must be a whole number, not 'two'"),
        ("size=0", "from 1 to"),
        ("pages=", "must be a whole number"),
        ("page=1", "did you mean 'pages'"),
        ("pages", "must be a whole number"),
        ("pages=1,file", "expected key=value pairs"),
        ("offset=4096", "has no size"),
        ("ptr=0x1000,size=10", "use pages, size, file or fd"),
        ("fd=987,size=1", "is it open?"),
        ("file=/nowhere/at/all", "No such file"),
        ("file=/dev/null", "has no size"),
        ("size=100,offset=10,file=/dev/zero", "multiple of 4096"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        specs(text)


def test_an_area_beyond_the_end_of_its_file_is_refused(path: Path) -> None:
    """The kernel would kill the process that reads there."""
    with pytest.raises(OptionError, match=rf"needs {4 * PAGE} bytes, but the file has {3 * PAGE}"):
        specs(f"file={path},pages=4")
    with pytest.raises(OptionError, match=f"needs {4 * PAGE} bytes"):
        specs(f"file={path},offset={3 * PAGE},pages=1")


def test_files_are_closed_when_a_later_area_cannot_be(path: Path) -> None:
    with pytest.raises(OptionError, match="whole number"):
        specs(f"file={path}", "nonsense")
