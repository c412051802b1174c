"""No name of uWSGI's Python API is forgotten: it is there, or it is said to come later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import uwsgi_async
from tests.client import get
from tests.command import server
from tests.compat.reference import DOCUMENTED, REFERENCE
from uwsgi_async.api import CHAPTERS
from uwsgi_async.compat.uwsgi_module import _LATER, UwsgiModule, make_module
from uwsgi_async.instance.server import information
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.build import build

CONDITIONAL = {"env", "mode", "pidfile"}
"""Names that real uWSGI has under a condition only, and so do we: each has a test of its own below."""

ALL = sorted({*DOCUMENTED.split(), *(name for names in REFERENCE.values() for name in names.split())})


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UwsgiModule]:
    """The module of an instance with all that must be configured."""
    options = build(queue=4, sharedarea="1", spooler=str(tmp_path_factory.mktemp("spool")), snmp="")
    state = SharedState.create(options)
    with state.used():
        yield make_module(information(options, []))
    state.close()


@pytest.mark.parametrize("name", [name for name in ALL if name not in CONDITIONAL])
def test_a_name_is_there_or_is_said_to_come_later(module: UwsgiModule, name: str) -> None:
    assert hasattr(module, name) is (name not in _LATER)
    if name in _LATER:
        with pytest.raises(AttributeError, match="not built yet"):
            getattr(module, name)


def test_nothing_is_promised_that_uwsgi_does_not_have() -> None:
    assert sorted(_LATER - set(ALL)) == []


def test_everything_in_the_module_can_be_had_in_async_code() -> None:
    for chapter in CHAPTERS:
        for name in chapter.__all__:
            assert getattr(uwsgi_async, name) is getattr(chapter, name)
            assert name in uwsgi_async.__all__


def test_functions_without_arguments_take_no_notice_of_those_they_get(module: UwsgiModule) -> None:
    assert module.worker_id(1, "two") == 0


def test_mode_and_pidfile_are_there_when_the_options_are_given(module: UwsgiModule, tmp_path: Path) -> None:
    assert not hasattr(module, "mode")
    assert not hasattr(module, "pidfile")
    given = make_module(information(build(mode="green", pidfile=str(tmp_path / "pid")), []))
    assert given.mode == b"green"
    assert given.pidfile == str(tmp_path / "pid").encode()


@pytest.mark.anyio
@pytest.mark.parametrize(("threads", "expected"), [(0, "/here"), (2, None)])
async def test_env_is_the_environ_of_the_current_request_unless_there_are_threads(
    threads: int, expected: str | None
) -> None:
    seen: list[object] = []

    def app(environ, start_response):
        import uwsgi

        seen.append(uwsgi.env["PATH_INFO"] if hasattr(uwsgi, "env") else None)
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", threads=threads) as running:
        import uwsgi

        await get(running, "/here")
        assert not hasattr(uwsgi, "env")
    assert seen == [expected]


@pytest.mark.anyio
async def test_applist_numbers_the_apps_by_their_mountpoints() -> None:
    async def app(environ, start_response):
        return []

    async with uwsgi_async.run({"": app, "/api": app}, http="127.0.0.1:0"):
        import uwsgi

        assert uwsgi.applist == {"": 0, "/api": 1}


def test_a_marshal_manager_is_told_that_it_is_not_called(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import uwsgi\nuwsgi.message_manager_marshal = print\ndef application(environ, start_response): ...\n"
    )
    with server("app.py", cwd=tmp_path) as process:
        process.wait_for("uwsgi.message_manager_marshal is set and will not be called")
