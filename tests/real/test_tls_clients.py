"""Real clients over TLS: curl, OpenSSL's s_client, httpx. Versions, names, clients' certificates, renegotiation."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from tests.certificates import Authority, Pair
from tests.command import COMMAND, Process, program
from tests.real.parts import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

APP = """
import hashlib

def application(environ, start_response):
    if environ["PATH_INFO"] == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open("file", "rb"))
    digest = hashlib.sha256(environ["wsgi.input"].read()).hexdigest()
    start_response("200 OK", [("Content-Type", "text/plain")])
    dn = environ.get("HTTPS_DN", "").rpartition("/CN=")[2]
    return [f"{environ['wsgi.url_scheme']} {dn or '-'} {digest}\\n".encode()]
"""
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Place(NamedTuple):
    """Two addresses: at the second one a client must show a certificate. TLS 1.0 is spoken at neither."""

    process: Process
    port: str
    strict: str
    authority: Authority
    clients: Authority
    alice: Pair
    eve: Pair


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    tmp = tmp_path_factory.mktemp("tls")
    authority, clients = Authority(tmp), Authority(tmp, "clients")
    pair = authority.issue("localhost", "127.0.0.1")
    other = authority.issue("other.example")
    alice = clients.issue("alice@example.com", common_name="Alice")
    eve = authority.issue("eve@example.com", common_name="Eve")
    (tmp / "app.py").write_text(APP)
    (tmp / "file").write_bytes(os.urandom(2_000_000))
    words = (
        *("--https", f"127.0.0.1:0,{pair}", "--https", f"127.0.0.1:0,{pair},,!{clients.file}"),
        *("--sni", f"other.example {other}", "--async", "10", "app.py"),
    )
    with program(*COMMAND, *words, cwd=tmp) as process:
        process.wait_for(r"(?s)https://\S+.*https://\S+")
        first, second = (urlsplit(url).port for url in re.findall(r"https://127\.0\.0\.1:\d+", process.output)[:2])
        yield Place(process, str(first), str(second), authority, clients, alice, eve)


def told(*words: str, given: bytes = b"") -> str:
    return subprocess.run(words, input=given, capture_output=True, timeout=60, check=False).stdout.decode()


def curl(place: Place, *words: str, port: str = "", path: str = "/", host: str = "localhost") -> tuple[int, str]:
    """curl's exit status and what it printed."""
    program = require("curl", "curl")
    url = f"https://{host}:{port or place.port}{path}"
    command = [program, "-sS", "--noproxy", "*", "--max-time", "30", "--cacert", place.authority.file, *words, url]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode("latin-1") + done.stderr.decode()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_is_answered(place: Place, version: str) -> None:
    assert curl(place, f"--tlsv{version}", "--tls-max", version) == (0, f"https - {EMPTY}\n")


def test_curl_uploads_in_chunks_and_with_a_length(place: Place) -> None:
    digest = told("sha256sum", str(Path(place.authority.file).parent / "file")).split()[0]
    file = f"@{Path(place.authority.file).parent / 'file'}"
    assert curl(place, "--data-binary", file) == (0, f"https - {digest}\n")
    assert curl(place, "--data-binary", file, "-H", "Transfer-Encoding: chunked") == (0, f"https - {digest}\n")


def test_curl_downloads_a_file(place: Place, tmp_path: Path) -> None:
    assert curl(place, "-o", str(tmp_path / "got"), path="/file")[0] == 0
    assert (tmp_path / "got").read_bytes() == (Path(place.authority.file).parent / "file").read_bytes()


def test_curl_keeps_the_connection_for_further_requests(place: Place) -> None:
    status, output = curl(place, "-v", f"https://localhost:{place.port}/again")
    assert status == 0
    assert output.count(EMPTY) == 2
    assert "Re-using existing connection" in output


def test_curl_refuses_a_certificate_for_another_name(place: Place) -> None:
    resolve = ("--resolve", f"wrong.example:{place.port}:127.0.0.1")
    assert curl(place, *resolve, host="wrong.example")[0] == 60  # CURLE_PEER_FAILED_VERIFICATION


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_shows_a_certificate(place: Place, version: str) -> None:
    limits = (f"--tlsv{version}", "--tls-max", version)
    alice, eve = (("--cert", pair.certificate, "--key", pair.key) for pair in (place.alice, place.eve))
    assert curl(place, *limits, *alice, port=place.strict) == (0, f"https Alice {EMPTY}\n")
    assert curl(place, *limits, *eve, port=place.strict)[0] in (35, 56)
    assert curl(place, *limits, port=place.strict)[0] in (35, 56)


def s_client(place: Place, *words: str | bytes, given: bytes = b"", port: str = "") -> str:
    program = require("openssl", "openssl")
    command = [
        program,
        "s_client",
        "-connect",
        f"127.0.0.1:{port or place.port}",
        "-CAfile",
        place.authority.file,
        *words,
    ]
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    return done.stdout.decode("latin-1") + done.stderr.decode("latin-1")


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("version", "allowed"), [("tls1", False), ("tls1_1", False), ("tls1_2", True), ("tls1_3", True)]
)
def test_s_client_speaks_only_the_versions_that_are_good(place: Place, version: str, allowed: bool) -> None:
    output = s_client(place, f"-{version}", "-cipher", "DEFAULT:@SECLEVEL=0", "-ign_eof", given=GET)
    assert (f"https - {EMPTY}" in output) is allowed
    assert ("Verify return code: 0 (ok)" in output) is allowed or version in ("tls1", "tls1_1")


@pytest.mark.parametrize(
    ("name", "subject"), [("localhost", "localhost"), ("other.example", "other.example"), ("x.example", "localhost")]
)
def test_s_client_gets_the_certificate_of_the_name(place: Place, name: str, subject: str) -> None:
    output = s_client(place, "-servername", name, "-verify_hostname", subject, "-ign_eof", given=GET)
    assert "Verification: OK" in output
    assert f"Verified peername: {subject}" in output


def test_a_name_that_is_not_ascii_fails_without_a_traceback(place: Place) -> None:
    assert "alert internal error" in s_client(place, "-servername", b"\xff\xfe", given=GET)
    assert EMPTY in s_client(place, "-ign_eof", given=GET)
    assert "Traceback" not in place.process.output
    assert "Exception ignored" not in place.process.output


def test_s_client_without_a_name_gets_the_default(place: Place) -> None:
    output = s_client(place, "-noservername", "-verify_hostname", "localhost", "-ign_eof", given=GET)
    assert "Verified peername: localhost" in output


def test_s_client_may_not_renegotiate(place: Place) -> None:
    output = s_client(place, "-tls1_2", given=b"R\n")
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output


def test_s_client_can_send_no_early_data(place: Place, tmp_path: Path) -> None:
    session = tmp_path / "session"
    s_client(place, "-tls1_3", "-sess_out", str(session), "-ign_eof", given=GET)
    early = tmp_path / "early"
    early.write_bytes(GET)
    output = s_client(place, "-tls1_3", "-sess_in", str(session), "-early_data", str(early), "-ign_eof", given=GET)
    assert "Reused, TLSv1.3" in output
    assert "Early data was accepted" not in output
    assert f"https - {EMPTY}" in output


def test_s_client_chooses_http_1_1(place: Place) -> None:
    assert "ALPN protocol: http/1.1" in s_client(place, "-alpn", "h2,http/1.1", "-ign_eof", given=GET)


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_s_client_shows_a_certificate(place: Place, version: str) -> None:
    def ask(*words: str) -> str:
        return s_client(place, f"-{version}", "-ign_eof", *words, given=GET, port=place.strict)

    assert f"https Alice {EMPTY}" in ask("-cert", place.alice.certificate, "-key", place.alice.key)
    assert EMPTY not in ask("-cert", place.eve.certificate, "-key", place.eve.key)
    assert EMPTY not in ask()


def test_httpx_is_answered_over_one_connection(place: Place) -> None:
    context = ssl.create_default_context(cafile=place.authority.file)
    context.load_cert_chain(*place.alice)
    with httpx.Client(verify=context, trust_env=False) as client:
        for size in (0, 100_000, 10):
            answer = client.post(f"https://localhost:{place.strict}/", content=b"x" * size)
            assert answer.text.startswith("https Alice ")
