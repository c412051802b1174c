"""Several apps in one instance: which one gets a request, and what it sees."""

from __future__ import annotations

import json
import logging

import anyio
import pytest

import uwsgi_async
from tests.client import Client, get
from uwsgi_async.errors import OptionError
from uwsgi_async.handlers.mounts import default_mountpoint

pytestmark = pytest.mark.anyio


def sync_app(name):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([name, environ.get("SCRIPT_NAME"), environ["PATH_INFO"]]).encode()]

    return app


def async_app(name):
    async def app(environ, start_response):
        await uwsgi_async.async_sleep(0)
        return sync_app(name)(environ, start_response)

    return app


APPS = {"": sync_app("root"), "/a": async_app("a"), "/a/b": sync_app("a/b"), "/slash/": sync_app("slash")}
MANAGED = {"manage_script_name": True}


async def seen(target: str, apps=None, **options):
    async with uwsgi_async.run(APPS if apps is None else apps, http="127.0.0.1:0", **options) as server:
        answer = await get(server, target)
    return json.loads(answer.body) if answer.status == 200 else answer.status


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", ["root", "", "/"]),
        ("/a", ["a", "/a", ""]),
        ("/a/", ["a", "/a", "/"]),
        ("/a/x", ["a", "/a", "/x"]),
        ("/ax", ["root", "", "/ax"]),
        ("/a/b", ["a/b", "/a/b", ""]),
        ("/a/b/c", ["a/b", "/a/b", "/c"]),
        ("/a/bc", ["a", "/a", "/bc"]),
        ("/slash", ["slash", "/slash", ""]),
        ("/slash/x", ["slash", "/slash", "/x"]),
        ("/A/x", ["root", "", "/A/x"]),
        ("/a%2Fb", ["a/b", "/a/b", ""]),
    ],
)
async def test_script_name_is_the_longest_mountpoint_that_the_path_begins_with(target, expected):
    assert await seen(target, **MANAGED) == expected


async def test_without_managing_the_path_chooses_nothing():
    assert await seen("/a/x") == ["root", "", "/a/x"]


@pytest.mark.parametrize(
    ("mountpoints", "default"),
    [
        ([""], ""),
        (["/"], "/"),
        (["/a", "/b"], "/a"),
        (["/a", "/"], "/"),
        (["/a", ""], ""),
        (["a", "b"], None),
        ([], None),
    ],
)
def test_the_default_app_is_at_the_root_or_the_first_one(mountpoints, default):
    assert default_mountpoint(mountpoints) == default


async def test_the_default_app_gets_what_fits_no_mountpoint():
    apps = {"/a": sync_app("a"), "/b": sync_app("b")}
    assert await seen("/x", apps, **MANAGED) == ["a", "", "/x"]
    assert await seen("/b/x", apps, **MANAGED) == ["b", "/b", "/x"]


async def test_with_no_default_app_what_fits_no_mountpoint_is_500(caplog):
    apps = {"/a": sync_app("a")}
    assert await seen("/x", apps, no_default_app=True, **MANAGED) == 500
    assert "no python application found" in caplog.text
    assert await seen("/a/x", apps, no_default_app=True, **MANAGED) == ["a", "/a", "/x"]
    assert await seen("/x", {"": sync_app("root")}, no_default_app=True) == ["root", "", "/x"]


async def ask_over_uwsgi(vars: dict[str, str], **options) -> list[str]:
    async with uwsgi_async.run(APPS, socket="127.0.0.1:0", **options) as server:
        payload = b"".join(
            len(text).to_bytes(2, "little") + text.encode()
            for pair in {"REQUEST_METHOD": "GET", "PATH_INFO": "/x", **vars}.items()
            for text in pair
        )
        async with await anyio.connect_tcp("127.0.0.1", int(server.addresses[0].rpartition(":")[2])) as stream:
            await stream.send(b"\0" + len(payload).to_bytes(2, "little") + b"\0" + payload)
            return json.loads((await Client(stream).rest()).partition(b"\r\n\r\n")[2])


async def test_a_front_end_names_the_app_by_script_name():
    assert await ask_over_uwsgi({"SCRIPT_NAME": "/a"}) == ["a", "/a", "/x"]
    assert await ask_over_uwsgi({"SCRIPT_NAME": "/slash"}) == ["slash", "/slash", "/x"]
    assert await ask_over_uwsgi({"SCRIPT_NAME": "/none"}) == ["root", "/none", "/x"]


async def test_script_name_can_be_ignored():
    assert await ask_over_uwsgi({"SCRIPT_NAME": "/a"}, ignore_script_name=True) == ["root", "/a", "/x"]


async def test_a_front_end_names_the_app_by_uwsgi_appid():
    assert await ask_over_uwsgi({"SCRIPT_NAME": "/a", "UWSGI_APPID": "/a/b"}) == ["a/b", "/a", "/x"]


async def test_requests_are_logged_with_the_apps_number_and_counted_for_each(caplog):
    caplog.set_level(logging.INFO, "uwsgi_async.request")
    async with uwsgi_async.run(APPS, http="127.0.0.1:0", **MANAGED) as server:
        for target in ("/a/1", "/x", "/a/b", "/a/2"):
            await get(server, target)
    lines = [record.getMessage() for record in caplog.records if record.name == "uwsgi_async.request"]
    assert [line.partition("|")[2].partition("]")[0] for line in lines] == [
        "app: 1|req: 1/1",
        "app: 0|req: 1/2",
        "app: 2|req: 1/3",
        "app: 1|req: 2/4",
    ]


async def test_an_app_may_change_its_environ_without_harm_to_the_next_request():
    def app(environ, start_response):
        told = sync_app("x")(environ, start_response)
        environ.clear()
        return told

    async with uwsgi_async.run({"/x": app}, http="127.0.0.1:0", cores=1, **MANAGED) as server:
        answers = [json.loads((await get(server, "/x/y")).body) for _ in range(3)]
    assert answers == [["x", "/x", "/y"]] * 3


async def test_static_files_are_looked_for_behind_the_script_name(tmp_path):
    (tmp_path / "f").write_text("a file")
    async with uwsgi_async.run(APPS, http="127.0.0.1:0", static_map=f"/s={tmp_path}", **MANAGED) as server:
        assert (await get(server, "/a/s/f")).body == b"a file"
        assert json.loads((await get(server, "/a/s/g")).body) == ["a", "/a", "/s/g"]


@pytest.mark.parametrize(
    ("option", "way_out"),
    [
        ({"module": "x"}, "is given the app itself"),
        ({"mount": "/x=y.py"}, "is given the app itself"),
        ({"chdir": "/"}, "is given the app itself"),
        ({"need_app": False}, "is given the app itself"),
        ({"logto": "/nowhere/log"}, "configure the loggers uwsgi_async"),
        ({"req_logger": "stdio"}, "configure the loggers uwsgi_async"),
        ({"procname": "x"}, "call uwsgi_async.setprocname"),
    ],
)
async def test_run_refuses_options_that_only_the_command_has_a_use_for(option, way_out):
    with pytest.raises(OptionError, match=way_out):
        async with uwsgi_async.run(sync_app("x"), http="127.0.0.1:0", **option):
            pass
