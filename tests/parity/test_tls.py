"""HTTPS in real uWSGI and here: what an app is told, which clients are let in, which certificate a name gets."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import Authority, Pair
from tests.parity.harness import APPS
from tests.parity.oracle import binary, home, require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

PATIENCE = 20.0  # seconds
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nHTTPS_DN: forged\r\nHTTPS-DN: forged\r\nConnection: close\r\n\r\n"
BOTH_VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Place(NamedTuple):
    """``open``: two ports, of uWSGI and of ours, where a client may show a certificate; ``strict``: where it must."""

    open: tuple[int, int]
    strict: tuple[int, int]
    authority: Authority
    clients: Authority
    others: Authority


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(command: list[str], ports: tuple[int, int], log: Path) -> Iterator[None]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE
        for port in ports:
            while True:
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                assert process.poll() is None, log.read_text(errors="replace")
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
        yield
    finally:
        process.send_signal(9 if "uwsgi_async" not in command else 15)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    require()
    tmp = tmp_path_factory.mktemp("tls")
    authority, clients, others = Authority(tmp), Authority(tmp, "clients"), Authority(tmp, "others")
    pair, named = authority.issue("localhost"), authority.issue("named.example")
    servers = {
        "oracle": [str(binary()), "--need-app", "--home", str(home())],
        "ours": [sys.executable, "-m", "uwsgi_async"],
    }
    ports = {}
    with ExitStack() as stack:
        for name, command in servers.items():
            ports[name] = free, strict = free_port(), free_port()
            words = [
                *("--socket", "127.0.0.1:0", "--async", "10", "--greenlet", "--wsgi-file", str(APPS / "tls.py")),
                *("--https", f"127.0.0.1:{free},{pair},HIGH,{clients.file}"),
                *("--https", f"127.0.0.1:{strict},{pair},HIGH,!{clients.file}"),
                *("--sni", f"named.example {named}", "--https-export-cert", "--buffer-size", "16384"),
            ]
            stack.enter_context(running([*command, *words], (free, strict), tmp / f"{name}.log"))
        yield Place(
            (ports["oracle"][0], ports["ours"][0]),
            (ports["oracle"][1], ports["ours"][1]),
            authority,
            clients,
            others,
        )


def ask(port: int, context: ssl.SSLContext, name: str = "localhost") -> Any:
    """What the app is told; "refused" when the connection or the request fails."""
    context.check_hostname = False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            with context.wrap_socket(raw, server_hostname=name) as sock:
                sock.sendall(GET)
                answer = b""
                while data := sock.recv(65536):
                    answer += data
    except (ssl.SSLError, ConnectionError):
        return "refused"
    if not answer:
        return "refused"
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    # OpenSSL escapes these two since a patch of 3.0; ours always does.
    told["HTTPS_DN"] = told.get("HTTPS_DN", "").replace("\\/", "/").replace("\\+", "+")
    return told


NAMES = ["Alice", "Älice/CN=admin", "a,b+c=d", "blank in it"]


@BOTH_VERSIONS
@pytest.mark.parametrize("common_name", NAMES)
def test_an_app_is_told_the_same_of_a_clients_certificate(
    place: Place, tmp_path: Path, common_name: str, version: ssl.TLSVersion
) -> None:
    shown = place.clients.issue("alice@example.com", common_name=common_name, place=tmp_path)
    for ports in (place.open, place.strict):
        oracle, ours = (ask(port, place.authority.context(shown, version)) for port in ports)
        assert ours == oracle
        assert set(ours) == {"HTTPS", "HTTPS_CC", "HTTPS_CLIENT_CERTIFICATE", "HTTPS_DN", "wsgi.url_scheme"}


@BOTH_VERSIONS
def test_the_same_clients_are_let_in(place: Place, tmp_path: Path, version: ssl.TLSVersion) -> None:
    stranger: Pair = place.others.issue("eve@example.com", place=tmp_path)
    for shown in (None, stranger):
        for ports in (place.open, place.strict):
            oracle, ours = (ask(port, place.authority.context(shown, version)) for port in ports)
            assert ours == oracle


@BOTH_VERSIONS
@pytest.mark.parametrize("name", ["localhost", "named.example", "unknown.example"])
def test_a_name_gets_the_same_certificate(place: Place, name: str, version: ssl.TLSVersion) -> None:
    certificates = []
    for port in place.open:
        context = place.authority.context(newest=version)
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            with context.wrap_socket(raw, server_hostname=name) as sock:
                certificates.append(sock.getpeercert(binary_form=True))
    assert certificates[1] == certificates[0] is not None
