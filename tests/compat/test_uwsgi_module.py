"""``import uwsgi`` inside a served app."""

from __future__ import annotations

import json
import os
import sys
import threading

import anyio
import pytest

import uwsgi_async
from tests.client import get
from uwsgi_async.errors import WouldBlockLoopError

pytestmark = pytest.mark.anyio


async def told_by(function, **options):
    """Serve ``function(environ)`` as a sync app and return what it returned, through JSON."""

    def app(environ, start_response):
        result = json.dumps(function(environ))
        start_response("200 OK", [("Content-Type", "application/json")])
        return [result.encode()]

    async with uwsgi_async.run(app, http="127.0.0.1:0", **options) as server:
        answer = await get(server)
    assert answer.status == 200
    return json.loads(answer.body)


async def test_the_module_is_there_while_the_server_runs_and_gone_afterwards():
    before = sys.modules.get("uwsgi")
    assert await told_by(lambda environ: "uwsgi" in sys.modules)
    assert sys.modules.get("uwsgi") is before


@pytest.mark.parametrize("threads", [0, 2])
async def test_wait_fd_read_and_suspend_wait_for_the_fd(threads):
    def function(environ):
        import uwsgi

        reader, writer = os.pipe()
        try:
            timer = threading.Timer(0.05, os.write, (writer, b"x"))
            timer.start()
            assert uwsgi.wait_fd_read(reader, 5) == b""
            assert uwsgi.suspend() is True
            timer.join()
            return uwsgi.ready_fd() == reader or threads > 0
        finally:
            os.close(reader)
            os.close(writer)

    assert await told_by(function, threads=threads)


async def test_a_wait_ends_at_its_timeout():
    def function(environ):
        import uwsgi

        reader, writer = os.pipe()
        try:
            uwsgi.wait_fd_read(reader, 1)
            uwsgi.suspend()
            return uwsgi.ready_fd()
        finally:
            os.close(reader)
            os.close(writer)

    assert await told_by(function) == -1


async def test_async_sleep_works_in_a_plain_thread_of_the_app():
    def function(environ):
        import contextvars

        import uwsgi

        result = []
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: result.append(uwsgi.async_sleep(0.01)),))
        thread.start()
        thread.join()
        return result == [b""]

    assert await told_by(function, threads=1)


async def test_the_globals_have_uwsgis_types():
    def function(environ):
        import uwsgi

        names = "version version_info numproc buffer_size started_on opt magic_table cores hostname sockets loop"
        return {name: type(getattr(uwsgi, name)).__name__ for name in names.split()}

    assert await told_by(function) == {
        "version": "bytes",
        "version_info": "tuple",
        "numproc": "int",
        "buffer_size": "int",
        "started_on": "int",
        "opt": "dict",
        "magic_table": "dict",
        "cores": "int",
        "hostname": "bytes",
        "sockets": "list",
        "loop": "bytes",
    }


async def test_a_name_that_is_not_built_yet_says_so_and_hasattr_is_honest():
    def function(environ):
        import uwsgi

        try:
            uwsgi.cluster_nodes("x")
        except AttributeError as error:
            return [str(error), hasattr(uwsgi, "cluster_nodes"), hasattr(uwsgi, "log")]

    text, has_route, has_log = await told_by(function)
    assert "not built yet" in text
    assert (has_route, has_log) == (False, True)


async def test_an_unknown_name_is_an_attribute_error():
    def function(environ):
        import uwsgi

        return hasattr(uwsgi, "no_such_name")

    assert await told_by(function) is False


async def test_a_blocking_face_on_the_loop_names_the_awaitable():
    caught = []

    async def app(environ, start_response):
        import uwsgi

        async def child():
            try:
                uwsgi.async_sleep(1)
            except WouldBlockLoopError as error:
                caught.append(str(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)  # a task of the app's own has no portal
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        await get(server)
    assert "await uwsgi_async.async_sleep" in caught[0]


async def test_outside_a_request_its_functions_raise_system_error():
    with pytest.raises(SystemError, match="main callable"):
        uwsgi_async.cl()


async def test_parsefile_reads_a_packet(tmp_path):
    path = tmp_path / "packet"
    path.write_bytes(b"\x11\x06\x00\x00\x01\x00a\x01\x001body")

    def function(environ):
        import uwsgi

        return uwsgi.parsefile(str(path)) == {b"a": b"1"} and uwsgi.parsefile("/nowhere") is None

    assert await told_by(function)


async def test_logvars_live_as_long_as_the_request():
    seen = []

    def app(environ, start_response):
        import uwsgi

        seen.append(uwsgi.get_logvar("name"))
        uwsgi.set_logvar("name", "value")
        seen.append(uwsgi.get_logvar(b"name"))
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server:
        await get(server)
        await get(server)
    assert seen == [None, b"value"] * 2
