"""Real frameworks, unchanged: a form, an upload, a streamed download, an error page."""

from __future__ import annotations

import importlib

import bottle
import pytest

import uwsgi_async
from tests.client import get

pytestmark = pytest.mark.anyio

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
MULTIPART = "Content-Type: multipart/form-data; boundary=limit\r\n"
SIZE = 1_500_000
UPLOAD = (
    b'--limit\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + b"x" * SIZE + b"\r\n--limit--\r\n"
)


@pytest.fixture(params=["flask", "django", "bottle", "falcon"])
def app(request):
    yield importlib.import_module(f"tests.frameworks.{request.param}_app").application
    bottle.request.bind({})  # Bottle's global request keeps the last environ, and with it the uploaded files


async def test_a_form_arrives(app):
    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/form", method="POST", headers=FORM, body=b"name=world")
    assert (answer.status, answer.body) == (200, b"hello world")


async def test_an_upload_arrives_whole(app):
    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/upload", method="POST", headers=MULTIPART, body=UPLOAD)
    assert (answer.status, answer.body) == (200, b"big.bin %d" % SIZE)


async def test_a_streamed_download_arrives_whole(app):
    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/stream")
    assert (answer.status, len(answer.body)) == (200, 1_000_000)


async def test_an_error_is_the_frameworks_500(app):
    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        assert (await get(server, "/error")).status == 500


async def test_below_a_mountpoint_it_serves_the_same(app):
    async with uwsgi_async.run({"/app": app}, http="127.0.0.1:0", manage_script_name=True) as server:
        answer = await get(server, "/app/form", method="POST", headers=FORM, body=b"name=world")
    assert (answer.status, answer.body) == (200, b"hello world")
