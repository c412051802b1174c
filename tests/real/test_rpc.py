"""nginx calls functions as uWSGI's RPC page says; a real FastCGI application answers."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import uwsgi_async
from tests.client import get
from tests.instance.others import file_with
from tests.real.parts import require
from tests.real.test_nginx import PATIENCE, free_port, started, wait_for_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

APP = """
import uwsgi

def hellolua(*words):
    body = b"args are " + b" ".join(words)
    return b"HTTP/1.0 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body

def join(*words):
    return b"+".join(words)

async def big(size):
    return b"x" * int(size)

uwsgi.register_rpc("hellolua", hellolua)
uwsgi.register_rpc("join", join)
uwsgi.register_rpc("big", big)

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"a request"]
"""

CONFIG = """
daemon off; master_process off; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; uwsgi_temp_path {tmp}/uwsgi;
  fastcgi_temp_path {tmp}/fastcgi; scgi_temp_path {tmp}/scgi;
  server {{
    listen 127.0.0.1:{port};
    uwsgi_pass_request_headers off;
    location /call {{
      uwsgi_modifier1 173; uwsgi_modifier2 1;
      uwsgi_param hellolua foo; uwsgi_param bar "";
      uwsgi_pass_request_body off;
      uwsgi_pass 127.0.0.1:{uwsgi};
    }}
    location / {{
      uwsgi_modifier1 173; uwsgi_modifier2 2;
      uwsgi_param PATH_INFO $document_uri; uwsgi_param SERVER_PROTOCOL $server_protocol;
      uwsgi_param HTTP_ACCEPT $http_accept;
      uwsgi_pass 127.0.0.1:{uwsgi};
    }}
    location /xml {{
      uwsgi_modifier1 173; uwsgi_modifier2 3;
      uwsgi_param CONTENT_LENGTH $content_length; uwsgi_param SERVER_PROTOCOL $server_protocol;
      uwsgi_pass 127.0.0.1:{uwsgi};
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx in front of our server."""
    nginx = require("nginx", "nginx-light")
    tmp = tmp_path_factory.mktemp("nginx")
    (tmp / "app.py").write_text(APP)
    uwsgi, port = free_port(), free_port()
    (tmp / "nginx.conf").write_text(CONFIG.format(tmp=tmp, port=port, uwsgi=uwsgi))
    ours = [sys.executable, "-m", "uwsgi_async", "--socket", f"127.0.0.1:{uwsgi}", "--uwsgi-allow", "rpc"]
    ours += ["--wsgi-file", str(tmp / "app.py")]
    with started(ours, tmp / "ours.log"):
        wait_for_port(uwsgi, tmp / "ours.log")
        with started(
            [nginx, "-c", str(tmp / "nginx.conf"), "-e", str(tmp / "error.log"), "-p", str(tmp)], tmp / "nginx.log"
        ):
            wait_for_port(port, tmp / "nginx.log")
            yield port


def request(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()
    finally:
        connection.close()


def test_nginx_calls_a_function_as_uwsgis_page_says(front: int) -> None:
    assert request(front, "/call") == (200, "text/plain", b"args are foo bar")


def test_nginx_calls_a_function_by_its_path(front: int) -> None:
    assert request(front, "/join/a/b") == (200, "application/binary", b"a+b")
    assert request(front, "/join/a", {"Accept": "text/html"}) == (200, "text/html", b"a")
    assert len(request(front, "/big/1000000")[2]) == 1_000_000
    assert request(front, "/missing")[0] == 404


def test_pythons_xml_rpc_client_calls_a_function_through_nginx(front: int) -> None:
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{front}/xml") as proxy:
        assert proxy.join("a", "\xe4") == "a+\xe4"
        with pytest.raises(xmlrpc.client.ProtocolError, match="500"):
            proxy.missing()


SCRIPT = """#!/bin/sh
echo "Status: 203 Told"
echo "X-Script: $SCRIPT_NAME"
echo "Content-Type: text/plain"
echo
echo "$REQUEST_METHOD $QUERY_STRING"
md5sum | cut -d" " -f1
echo "a complaint" >&2
"""


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A real FastCGI application, which runs CGI programs; its address, and the path of a program."""
    fcgiwrap = require("fcgiwrap", "fcgiwrap")
    tmp = tmp_path_factory.mktemp("fcgi")
    script = tmp / "script.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    path = tmp / "fcgi.sock"
    with (tmp / "log").open("wb") as log:
        process = subprocess.Popen([fcgiwrap, "-f", "-s", f"unix:{path}"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            assert process.poll() is None, (tmp / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield str(path), str(script)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def digest(data: bytes) -> bytes:
    return hashlib.md5(data).hexdigest().encode() + b"\n"


def params(script: str, **more: str) -> dict[str | bytes, Any]:
    return {"SCRIPT_FILENAME": script, "SCRIPT_NAME": "/s", "REQUEST_METHOD": "GET", "QUERY_STRING": "a=b", **more}


@pytest.mark.anyio
async def test_a_real_application_answers(application: tuple[str, str]) -> None:
    address, script = application
    answer = await uwsgi_async.fcgi(address, params(script))
    output = b"".join([chunk async for chunk in answer])
    assert output.startswith((b"Status: 203 Told\r\n", b"Status: 203 Told\n"))
    assert output.endswith(b"\nGET a=b\n" + digest(b""))


@pytest.mark.anyio
async def test_a_real_application_gets_a_large_body(application: tuple[str, str], tmp_path: Path) -> None:
    address, script = application
    with file_with(tmp_path / "body", b"0123456789" * 100_000) as file:
        more = {"CONTENT_LENGTH": "1000000", "REQUEST_METHOD": "POST"}
        answer = await uwsgi_async.fcgi(address, params(script, **more), file.fileno(), 1_000_000)
        output = b"".join([chunk async for chunk in answer])
    assert output.endswith(b"\nPOST a=b\n" + digest(b"0123456789" * 100_000))


@pytest.mark.anyio
async def test_an_app_hands_a_request_to_a_real_application(application: tuple[str, str]) -> None:
    address, script = application

    def app(environ: Any, start_response: Any) -> Any:
        import uwsgi

        start_response("200 OK", [("Content-Type", "text/plain")])
        more = params(script, REQUEST_METHOD="POST", CONTENT_LENGTH=str(uwsgi.cl()))
        return uwsgi.fcgi(address, more, uwsgi.connection_fd(), uwsgi.cl())

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/", method="POST", body=b"from the client")
        assert answer.body.endswith(b"POST a=b\n" + digest(b"from the client"))
