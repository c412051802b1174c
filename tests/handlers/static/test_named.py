"""Files that an app names in X-Sendfile, and files that are left to the web server in front."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import uwsgi_async
from tests.client import connect, get
from uwsgi_async import Server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    for name in ("open", "open/deep", "open-private", "closed"):
        (place / name).mkdir()
    (place / "open/a.txt").write_text("a file")
    (place / "open/large").write_bytes(bytes(range(256)) * 4000)
    (place / "open/empty").write_text("")
    (place / "open/deep/b.txt").write_text("deeper")
    (place / "open-private/s.txt").write_text("private")
    (place / "closed/s.txt").write_text("closed")
    (place / "open/out").symlink_to(place / "closed/s.txt")
    (place / "closed/in").symlink_to(place / "open/a.txt")
    os.mkfifo(place / "open/fifo")
    return place


def sync_app(environ: dict[str, Any], start_response: Any) -> Any:
    named = ("X-SendFile", environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/x"), named, ("Content-Length", "3"), ("X-Other", "1")])
    kind = environ["PATH_INFO"]
    if kind == "/list":
        return [b"app"]
    if kind == "/several":
        return [b"a", b"pp"]
    return iter([b"a", b"", b"pp"])


async def async_app(environ: dict[str, Any], start_response: Any) -> Any:
    return sync_app(environ, start_response)


APPS: dict[str, Callable[..., Any]] = {"async": async_app, "sync": sync_app}


@asynccontextmanager
async def serving(place: Path, kind: str = "sync", **options: Any) -> AsyncIterator[Server]:
    path = str(place / "open")
    async with uwsgi_async.run(APPS[kind], http="127.0.0.1:0", xsendfile_path=path, **options) as server:
        yield server


@pytest.mark.parametrize("kind", APPS)
@pytest.mark.parametrize("body", ["list", "several", "iterator"])
async def test_the_file_comes_in_the_place_of_the_apps_body(place: Path, kind: str, body: str) -> None:
    async with serving(place, kind) as server, connect(server) as client:
        for name, content in {"a.txt": b"a file", "deep/b.txt": b"deeper", "empty": b"", "a.txt ": None}.items():
            answer = await client.get(f"/{body}?{place}/open/{name.strip()}")
            assert (answer.status, answer.body) == (200, content if content is not None else b"a file")
            assert answer.headers["content-length"] == str(len(answer.body))
            assert answer.headers["content-type"] == "text/x"
            assert answer.headers["x-other"] == "1"
            assert "last-modified" in answer.headers
            assert "x-sendfile" not in answer.headers
        assert (await client.get(f"/{body}?{place}/open/large")).body == bytes(range(256)) * 4000
        assert server.statistics().connections == 1


async def test_a_link_counts_by_what_it_leads_to(place: Path) -> None:
    async with serving(place) as server:
        assert (await get(server, f"/list?{place}/closed/in")).body == b"a file"
        assert (await get(server, f"/list?{place}/open/out")).status == 404


@pytest.mark.parametrize(
    "name",
    [
        *(
            "closed/s.txt",
            "open/../closed/s.txt",
            "open-private/s.txt",
            "open/out",
            "open/nothing",
            "open/deep",
            "open",
        ),
        *("open/fifo", "open/a.txt/", ""),
    ],
)
async def test_what_is_elsewhere_or_no_file_is_404_and_told(
    place: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(place) as server, connect(server) as client:
        answer = await client.get(f"/list?{place}/{name}")
        assert (answer.status, answer.body, answer.headers["content-length"]) == (404, b"", "0")
        assert (await client.get(f"/list?{place}/open/a.txt")).body == b"a file"
    assert "X-Sendfile: " in caplog.text


async def test_a_relative_path_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "open")
    async with serving(place) as server:
        assert (await get(server, "/list?a.txt")).status == 404


async def test_a_head_has_the_length_of_the_file(place: Path) -> None:
    async with serving(place) as server, connect(server) as client:
        answer = await client.get(f"/list?{place}/open/a.txt", method="HEAD")
        assert (answer.status, answer.headers["content-length"]) == (200, "6")
        assert (await client.get(f"/list?{place}/open/a.txt")).body == b"a file"


async def test_without_the_option_the_header_is_the_apps(place: Path) -> None:
    async with uwsgi_async.run(sync_app, http="127.0.0.1:0") as server:
        answer = await get(server, f"/list?{place}/open/a.txt")
        assert (answer.body, answer.headers["x-sendfile"]) == (b"app", f"{place}/open/a.txt")


async def test_a_second_start_response_forgets_the_file(place: Path) -> None:
    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Sendfile", f"{place}/open/a.txt")])
        start_response("201 Created", [])
        return [b"app"]

    async with uwsgi_async.run(app, http="127.0.0.1:0", xsendfile_path=str(place / "open")) as server:
        answer = await get(server)
    assert (answer.status, answer.body) == (201, b"app")


async def test_an_app_that_fails_after_naming_a_file_is_500_and_leaves_nothing_open(place: Path) -> None:
    """The check for open files is the fixture of all tests."""

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Sendfile", f"{place}/open/a.txt")])
        raise ValueError("too late")

    async with uwsgi_async.run(app, http="127.0.0.1:0", xsendfile_path=str(place / "open")) as server:
        assert (await get(server)).status == 500


@pytest.mark.parametrize(
    ("mode", "header"), [("x-sendfile", "x-sendfile"), ("xsendfile", "x-sendfile"), ("nginx", "x-accel-redirect")]
)
async def test_a_static_file_is_named_for_the_server_in_front(place: Path, mode: str, header: str) -> None:
    options = {"check_static": str(place / "open"), "file_serve_mode": mode}
    async with uwsgi_async.run(sync_app, http="127.0.0.1:0", **options) as server, connect(server) as client:
        for extra in ("", "Range: bytes=1-2\r\n"):
            answer = await client.get("/a.txt", headers=extra)
            assert (answer.status, answer.body) == (200, b"")
            assert answer.headers[header] == f"{place}/open/a.txt"
            assert answer.headers["content-type"] == "text/plain"
        since = answer.headers["last-modified"]
        answer = await client.get("/a.txt", headers=f"If-Modified-Since: {since}\r\n")
        assert answer.status == 304
        assert header not in answer.headers
