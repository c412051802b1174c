"""Behind a real nginx: `uwsgi_pass` over TCP and a UNIX socket, buffered and not, and `proxy_pass`."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.parts import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

PATIENCE = 20.0  # seconds
FILE = b"0123456789" * 100_000

APP = """
import hashlib, json
async def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/error":
        raise RuntimeError("the app's error")
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if path == "/hash":
        digest = hashlib.sha256()
        while chunk := await environ["wsgi.input"].read(65536):
            digest.update(chunk)
        yield digest.hexdigest().encode()
    elif path == "/big":
        for _ in range(500):
            yield b"x" * 100_000
    else:
        keys = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR")
        yield json.dumps([environ[key] for key in keys]).encode()
"""

CONFIG = """
daemon off; master_process off; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{ }}
http {{
  access_log off; client_max_body_size 100m;
  client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; uwsgi_temp_path {tmp}/uwsgi;
  fastcgi_temp_path {tmp}/fastcgi; scgi_temp_path {tmp}/scgi;
  uwsgi_param REQUEST_METHOD $request_method; uwsgi_param REQUEST_URI $request_uri;
  uwsgi_param PATH_INFO $document_uri; uwsgi_param QUERY_STRING $query_string;
  uwsgi_param CONTENT_TYPE $content_type; uwsgi_param CONTENT_LENGTH $content_length;
  uwsgi_param SERVER_PROTOCOL $server_protocol; uwsgi_param REMOTE_ADDR $remote_addr;
  uwsgi_param SERVER_NAME $server_name; uwsgi_param SERVER_PORT $server_port;
  {servers}
}}
"""

SERVER = """
  server {{
    listen 127.0.0.1:{port};
    uwsgi_request_buffering {buffering}; uwsgi_buffering {buffering};
    proxy_request_buffering {buffering}; proxy_buffering {buffering}; proxy_http_version 1.1;
    location / {{ {target}; }}
    location {files}/static/ {{ internal; root /; }}
  }}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for_port(port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The port of nginx for each way to our server, which has two cores."""
    nginx = require("nginx", "nginx-light")
    tmp = tmp_path_factory.mktemp("nginx")
    (tmp / "app.py").write_text(APP)
    tcp, plain = free_port(), free_port()
    targets = {
        "uwsgi-tcp": f"uwsgi_pass 127.0.0.1:{tcp}",
        "uwsgi-unix": f"uwsgi_pass unix:{tmp}/app.sock",
        "http": f"proxy_pass http://127.0.0.1:{plain}",
    }
    ports, servers = {}, ""
    for name, target in targets.items():
        for buffering in ("on", "off"):
            ports[f"{name}-{buffering}"] = port = free_port()
            servers += SERVER.format(port=port, buffering=buffering, target=target, files=tmp)
    (tmp / "nginx.conf").write_text(CONFIG.format(tmp=tmp, servers=servers))
    ours = [sys.executable, "-m", "uwsgi_async", "--socket", f"127.0.0.1:{tcp}", "--socket", f"{tmp}/app.sock"]
    ours += ["--http-socket", f"127.0.0.1:{plain}", "--async", "2", "--wsgi-file", str(tmp / "app.py")]
    ours += ["--chmod-socket", "666", "--check-static", str(tmp / "static"), "--file-serve-mode", "nginx"]
    (tmp / "static").mkdir()
    (tmp / "static/file.txt").write_bytes(FILE)
    front = [nginx, "-c", str(tmp / "nginx.conf"), "-e", str(tmp / "error.log"), "-p", str(tmp)]
    with started(ours, tmp / "ours.log"), started(front, tmp / "nginx.log"):
        wait_for_port(plain, tmp / "ours.log")
        for port in ports.values():
            wait_for_port(port, tmp / "nginx.log")
        yield ports


WAYS = [f"{name}-{buffering}" for name in ("uwsgi-tcp", "uwsgi-unix", "http") for buffering in ("on", "off")]


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_request_arrives_as_it_was_sent(fronts: dict[str, int], way: str) -> None:
    status, body = request(fronts[way], "GET", "/a%20b/c?x=1&y=%2F")
    assert status == 200
    assert body.startswith(b'["GET", "/a b/c", "x=1&y=%2F", "127.0.0.1"')


@pytest.mark.parametrize("way", WAYS)
def test_a_large_upload_arrives_whole(fronts: dict[str, int], way: str) -> None:
    upload = os.urandom(1 << 20) * 20
    assert request(fronts[way], "POST", "/hash", upload) == (200, hashlib.sha256(upload).hexdigest().encode())


@pytest.mark.parametrize("way", WAYS)
def test_a_large_download_arrives_whole(fronts: dict[str, int], way: str) -> None:
    status, body = request(fronts[way], "GET", "/big")
    assert (status, len(body)) == (200, 50_000_000)


@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_the_app_is_a_500(fronts: dict[str, int], way: str) -> None:
    assert request(fronts[way], "GET", "/error")[0] == 500


@pytest.mark.parametrize("way", WAYS)
def test_clients_that_go_away_leave_the_cores_free(fronts: dict[str, int], way: str) -> None:
    for start in (
        b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /hash HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    ):
        for _ in range(3):  # more than there are cores
            with socket.create_connection(("127.0.0.1", fronts[way]), 10) as sock:
                sock.sendall(start)
                if start.startswith(b"GET"):
                    sock.recv(1000)
    assert request(fronts[way], "GET", "/")[0] == 200


@pytest.mark.parametrize("way", WAYS)
def test_nginx_sends_a_static_file_that_it_is_told_of(fronts: dict[str, int], way: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", fronts[way], timeout=60)
    try:
        for headers, status, content in (({}, 200, FILE), ({"Range": "bytes=5-14"}, 206, b"5678901234")):
            connection.request("GET", "/file.txt", headers=headers)
            response = connection.getresponse()
            assert (response.status, response.read()) == (status, content)
    finally:
        connection.close()
