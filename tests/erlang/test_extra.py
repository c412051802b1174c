"""Without erlang_py each call and each option says which extra has it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import uwsgi_async
from tests.command import run
from uwsgi_async.decorators import erlang
from uwsgi_async.erlang import terms
from uwsgi_async.errors import NotConfiguredError, OptionError

WORDS = r"pip install 'uwsgi-async\[erlang\]'"


@pytest.fixture
def _without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "erlang", None)
    terms.library.cache_clear()
    yield
    terms.library.cache_clear()


@pytest.mark.anyio
@pytest.mark.usefixtures("_without")
async def test_a_call_says_it() -> None:
    with pytest.raises(NotConfiguredError, match=WORDS):
        await uwsgi_async.erlang_connect("a@b")
    with pytest.raises(NotConfiguredError, match=WORDS):
        await uwsgi_async.erlang_rpc("a@b", "m", "f", [])
    with pytest.raises(NotConfiguredError, match=WORDS):
        await uwsgi_async.erlang_send_message("a@b", "name", 1)
    with pytest.raises(NotConfiguredError, match=WORDS):
        await uwsgi_async.erlang_recv_message("a@b")


@pytest.mark.usefixtures("_without")
def test_registering_a_process_says_it() -> None:
    with pytest.raises(NotConfiguredError, match=WORDS):
        erlang("name")(print)


@pytest.mark.anyio
@pytest.mark.usefixtures("_without")
async def test_an_instance_with_the_option_says_it() -> None:
    with pytest.raises(OptionError, match=WORDS):
        async with uwsgi_async.run(lambda _environ, _start: [], http="127.0.0.1:0", erlang="a@127.0.0.1"):
            pass


def test_the_command_says_it_and_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "erlang.py").write_text("raise ImportError")
    (tmp_path / "app.py").write_text("def application(environ, start_response): pass")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status, output = run("--http-socket", "127.0.0.1:0", "--erlang", "a@127.0.0.1", "app.py", cwd=tmp_path)
    assert status == 2
    assert "erlang: Erlang's terms need erlang_py: pip install 'uwsgi-async[erlang]'" in output
