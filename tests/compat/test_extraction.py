"""extract and embedded_data: what is read, and what becomes of what cannot be."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import anyio
import pytest

import uwsgi_async
from tests.compat.test_uwsgi_module import told_by

pytestmark = pytest.mark.anyio


@pytest.fixture
def web() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/here" else 404)
            self.end_headers()
            self.wfile.write(b"from the web")

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as web_server:
        thread = threading.Thread(target=web_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web_server.server_port}"
        web_server.shutdown()
        thread.join()


async def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    assert await uwsgi_async.extract(str(tmp_path / "file")) == bytes(range(256)) * 1000


async def test_a_name_with_a_colon_is_a_file_unless_it_is_a_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").write_bytes(b"x")
    assert await uwsgi_async.extract("a:b") == b"x"


async def test_a_command_is_what_it_prints() -> None:
    assert await uwsgi_async.extract("exec://printf '%s' a; echo b; exit 3") == b"ab\n"


async def test_a_descriptor_is_read_to_its_end_and_stays_open() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"piped")
    os.close(writer)
    assert await uwsgi_async.extract(f"fd://{reader}") == b"piped"
    os.close(reader)


async def test_a_page_is_read(web: str) -> None:
    assert await uwsgi_async.extract(f"{web}/here") == b"from the web"


async def test_c_functions_and_symbols_of_the_program_are_read() -> None:
    assert await uwsgi_async.extract("callint://getpid") == str(os.getpid()).encode()
    version = await uwsgi_async.extract("call://Py_GetVersion")
    assert version is not None
    assert version.startswith(b"3.")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/no/such/file", "No such file or directory"),
        ("/", "Is a directory"),
        ("fd://9999", "Bad file descriptor"),
        ("fd://x", "invalid literal"),
        ("sym://nothing", "unable to find symbol nothing"),
        ("call://nothing", "unable to find symbol nothing"),
        ("http://127.0.0.1:1/", "Connection refused"),
    ],
)
async def test_what_cannot_be_read_is_none_and_told(name: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "uwsgi_async"):
        assert await uwsgi_async.extract(name) is None
    assert f"extract: cannot read {name!r}" in caplog.text
    assert reason in caplog.text


async def test_a_page_that_is_not_there_is_none(web: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await uwsgi_async.extract(f"{web}/away") is None
    assert "404" in caplog.text


async def test_what_is_empty_is_none() -> None:
    assert await uwsgi_async.extract("/dev/null") is None
    assert await uwsgi_async.extract("exec://true") is None


@pytest.mark.parametrize("name", ["data://0", "section://x", "emperor://x"])
async def test_what_only_uwsgis_own_program_has_is_an_error_that_names_the_way_out(name: str) -> None:
    with pytest.raises(ValueError, match="use a file"):
        await uwsgi_async.extract(name)


async def test_bytes_are_no_name() -> None:
    with pytest.raises(TypeError):
        await uwsgi_async.extract(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        uwsgi_async.embedded_data(b"x")  # type: ignore[arg-type]


async def test_embedded_data_finds_what_the_linker_has_embedded(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (Debian: gcc)")
    (tmp_path / "blob.S").write_text(
        ".globl _binary_blob_start\n.globl _binary_blob_end\n.data\n"
        '_binary_blob_start: .ascii "embedded \\0 bytes"\n_binary_blob_end: .byte 0\n'
        '.section .note.GNU-stack,"",%progbits\n'
    )
    library = tmp_path / "blob.so"
    await anyio.run_process(["cc", "-shared", "-o", str(library), str(tmp_path / "blob.S")])
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    assert uwsgi_async.embedded_data("blob") == b"embedded \0 bytes"
    assert await uwsgi_async.extract("sym://blob") == b"embedded \0 bytes"


async def test_a_symbol_that_is_not_there_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unable to find symbol nothing"):
        uwsgi_async.embedded_data("nothing")


@pytest.mark.parametrize("threads", [0, 1])
async def test_the_uwsgi_module_has_the_blocking_form(tmp_path: Path, threads: int) -> None:
    (tmp_path / "file").write_bytes(b"content")

    def function(environ):
        import uwsgi

        return [uwsgi.extract(str(tmp_path / "file")).decode(), uwsgi.extract("exec://echo hi").decode()]

    assert await told_by(function, threads=threads) == ["content", "hi\n"]


@pytest.mark.parametrize(("threads", "expected"), [(0, ["WouldBlockLoopError", True]), (1, True)])
async def test_grunt_lets_a_request_in_a_thread_go_on_and_never_forks(threads: int, expected: object) -> None:
    def function(environ):
        import uwsgi

        try:
            return uwsgi.grunt()
        except RuntimeError as error:
            return [type(error).__name__, "option threads" in str(error)]

    assert await told_by(function, threads=threads) == expected
