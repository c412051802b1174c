"""Certificates that are exchanged while an instance serves, and files that cannot be used."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import uwsgi_async
from tests.certificates import Authority, Pair
from tests.command import COMMAND, Process, program, run
from uwsgi_async.errors import OptionError
from uwsgi_async.instance.certificates import Certificate, load_certificates
from uwsgi_async.instance.subjects import one_line
from uwsgi_async.options.build import build
from uwsgi_async.options.tls import TlsFiles, TlsOptions

APP = """
def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"hello"]
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def used(tmp_path: Path, authority: Authority) -> Pair:
    """A certificate for one.example, in files that a test may change."""
    pair = Pair(str(tmp_path / "server.crt"), str(tmp_path / "server.key"))
    install(authority.issue("one.example"), pair)
    return pair


def install(new: Pair, used: Pair) -> None:
    """Put new files where the old ones are, as certbot does: by another name first."""
    for source, target in zip(new, used, strict=True):
        shutil.copy(source, f"{target}.new")
        os.replace(f"{target}.new", target)


def names(context: ssl.SSLContext, authority: Authority) -> set[str]:
    """The names in the certificate that a client of ``context`` is shown."""
    ours, theirs = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    trusting = authority.context()
    trusting.check_hostname = False
    client = trusting.wrap_bio(*ours)
    server = context.wrap_bio(*theirs, server_side=True)
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            theirs[0].write(ours[1].read())
            with pytest.raises(ssl.SSLWantReadError):
                server.do_handshake()
            ours[0].write(theirs[1].read())
        else:
            return {str(value) for _, value in (client.getpeercert() or {})["subjectAltName"]}


def test_files_that_have_changed_are_loaded_and_a_connection_goes_on_with_the_old_ones(
    authority: Authority, used: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async")
    certificate = Certificate(TlsFiles(*used), TlsOptions(), "https")
    before = certificate.context
    certificate.renew()
    assert certificate.context is before
    install(authority.issue("two.example"), used)
    certificate.renew()
    assert names(certificate.context, authority) == {"two.example"}
    assert names(before, authority) == {"one.example"}
    assert "was changed, and is used from now on" in caplog.text


def test_files_that_are_being_written_are_left_alone(authority: Authority, used: Pair) -> None:
    certificate = Certificate(TlsFiles(*used), TlsOptions(), "https")
    before = certificate.context
    install(authority.issue("two.example"), used)
    certificate.renew(settled=True)
    assert certificate.context is before
    certificate.renew(settled=True)
    assert names(certificate.context, authority) == {"two.example"}


@pytest.mark.parametrize("broken", ["other key", "no PEM", "missing"])
def test_files_that_are_no_good_leave_the_old_ones_serving_and_are_told_once(
    authority: Authority, used: Pair, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    certificate = Certificate(TlsFiles(*used), TlsOptions(), "https")
    before = certificate.context
    if broken == "other key":
        shutil.copy(authority.issue("two.example").key, used.key)
    elif broken == "no PEM":
        Path(used.certificate).write_text("-----BEGIN CERT")
    else:
        os.unlink(used.certificate)
    for _ in range(3):
        certificate.renew()
    assert certificate.context is before
    assert caplog.text.count("the certificate of before goes on serving") == 1
    install(authority.issue("two.example"), used)
    certificate.renew()
    assert names(certificate.context, authority) == {"two.example"}


def test_relative_files_are_those_of_the_start(
    authority: Authority, used: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(used.certificate).parent)
    certificate = Certificate(TlsFiles("server.crt", "server.key"), TlsOptions(), "https")
    monkeypatch.chdir("/")
    install(authority.issue("two.example"), used)
    certificate.renew()
    assert names(certificate.context, authority) == {"two.example"}


def load(https: str, **options: object) -> None:
    load_certificates(build(https=https, **options).tls)


def test_what_is_wrong_with_the_files_is_said_in_a_sentence(authority: Authority, used: Pair, tmp_path: Path) -> None:
    other = authority.issue("two.example")
    text = tmp_path / "text"
    text.write_text("no certificate")
    locked = tmp_path / "locked.key"
    locked.write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,001122334455667788990011"
        "22334455\n\nAAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n"
    )
    wrong = {
        f"/nowhere,{used.key}": "https: the certificate /nowhere cannot be read: No such file or directory",
        f"{used.certificate},/nowhere": "https: the key /nowhere cannot be read: No such file or directory",
        f"{used.certificate},{other.key}": f"https: the key {other.key} is not that of the certificate",
        f"{text},{used.key}": f"https: expected a certificate in PEM in {text}",
        f"{used.certificate},{locked}": f"https: the key {locked} needs a password",
        f"{used},NO-SUCH-CIPHER": "https: OpenSSL knows none of the ciphers 'NO-SUCH-CIPHER'",
        f"{used},,/nowhere": "https: the client CA /nowhere cannot be read: No such file or directory",
        f"{used},,{text}": f"https: the client CA {text} holds no certificate in PEM",
    }
    for files, sentence in wrong.items():
        with pytest.raises(OptionError, match=re.escape(sentence)):
            load(f"127.0.0.1:0,{files}")


def test_an_address_without_a_certificate_is_refused_with_what_to_give() -> None:
    with pytest.raises(OptionError, match=r"https: 127\.0\.0\.1:0 has no certificate: give"):
        load("127.0.0.1:0")


def test_the_versions_and_options_of_openssl_can_be_chosen(used: Pair) -> None:
    files = TlsFiles(*used)
    assert Certificate(files, TlsOptions(), "https").context.minimum_version == ssl.TLSVersion.TLSv1_2
    old = Certificate(
        files, TlsOptions(ssl_enable_tlsv1=True, ssl_option=(str(int(ssl.OP_NO_TICKET)),)), "https"
    ).context
    assert old.minimum_version == ssl.TLSVersion.TLSv1
    assert old.options & ssl.OP_NO_TICKET


def test_a_subject_is_written_as_openssl_does() -> None:
    subject = (
        (("countryName", "IT"),),
        (("organizationName", "a/b \u00e9"), ("userId", "x")),
        (("emailAddress", "a@b"),),
    )
    assert one_line(subject) == r"/C=IT/O=a\/b \xC3\xA9/UID=x/emailAddress=a@b"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../one", "a/b", "a\0b", ".hidden", "-x", "a..b", "x" * 300, "a" * 250 + "!", "\u00e9"]
)
def test_a_name_that_is_no_host_is_not_looked_for_in_the_directory(
    authority: Authority, used: Pair, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [tls] = load_certificates(build(https=f"127.0.0.1:0,{used}", sni_dir=str(tmp_path)).tls)
    looked: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "exists", looked.append)
        assert tls.names.choose(name) is None
    assert looked == []


def test_a_broken_certificate_of_the_directory_is_told_and_the_default_is_used(
    used: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for suffix in ("crt", "key"):
        (tmp_path / f"bad.example.{suffix}").write_text("nothing")
    [tls] = load_certificates(build(https=f"127.0.0.1:0,{used}", sni_dir=str(tmp_path)).tls)
    assert tls.names.choose("bad.example") is None
    assert "sni-dir: expected a certificate in PEM" in caplog.text


# --- an instance ------------------------------------------------------------------------------------------------


@contextmanager
def instance(place: Path, pair: Pair, *words: str) -> Iterator[Process]:
    (place / "app.py").write_text(APP)
    https = ("--https", f"127.0.0.1:0,{pair}")
    with program(*COMMAND, *https, "--master", "-p", "2", *words, "app.py", cwd=place) as process:
        process.url = process.wait_for(r"https://127\.0\.0\.1:(\d+)")[1]
        process.wait_for(r"(?s)(worker \d .*){2}")
        yield process


def connect(process: Process, authority: Authority) -> ssl.SSLSocket:
    context = authority.context()
    context.check_hostname = False
    return context.wrap_socket(socket.create_connection(("127.0.0.1", int(process.url)), timeout=20))


def served(process: Process, authority: Authority) -> str:
    """The name in the certificate that a new client gets, which is answered."""
    with closing(connect(process, authority)) as sock:
        sock.sendall(GET)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
        return str((sock.getpeercert() or {})["subjectAltName"][0][1])


def test_workers_use_new_files_by_themselves_and_open_connections_go_on(
    authority: Authority, used: Pair, tmp_path: Path
) -> None:
    with instance(tmp_path, used) as process, closing(connect(process, authority)) as before:
        before.sendall(GET)
        assert before.recv(65536).startswith(b"HTTP/1.1 200 OK")
        install(authority.issue("two.example"), used)
        process.wait_until(lambda: process.output.count("is used from now on") == 2)
        assert {served(process, authority) for _ in range(8)} == {"two.example"}
        before.sendall(GET)
        assert before.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_reload_uses_new_files_and_one_with_broken_files_changes_nothing(
    authority: Authority, used: Pair, tmp_path: Path
) -> None:
    with instance(tmp_path, used) as process:
        Path(used.certificate).write_text("nothing")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("expected a certificate in PEM")
        process.wait_for("(?i)reload.*fail|goes on")
        assert served(process, authority) == "one.example"
        install(authority.issue("two.example"), used)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_until(lambda: served(process, authority) == "two.example")


def test_a_start_with_a_broken_certificate_is_refused(used: Pair, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    Path(used.key).write_text("nothing")
    status, output = run("--https", f"127.0.0.1:0,{used}", "app.py", cwd=tmp_path)
    assert status == 2
    assert "https: expected a certificate in PEM" in output
    assert "Traceback" not in output


def test_sessions_are_resumed_by_every_worker(authority: Authority, used: Pair, tmp_path: Path) -> None:
    context = authority.context(newest=ssl.TLSVersion.TLSv1_2)
    context.check_hostname = False
    with instance(tmp_path, used, "--reuse-port") as process:
        session, reused = None, []
        for _ in range(12):
            raw = socket.create_connection(("127.0.0.1", int(process.url)), timeout=20)
            with context.wrap_socket(raw, session=session) as sock:
                sock.sendall(GET)
                sock.recv(65536)
                session = session or sock.session
                reused.append(sock.session_reused)
    assert reused == [False] + 11 * [True]


@pytest.mark.anyio
async def test_run_wants_a_certificate_for_https() -> None:
    with pytest.raises(OptionError, match="has no certificate"):
        async with uwsgi_async.run(lambda *_: [], https="127.0.0.1:0"):
            pass


def test_at_a_reload_a_request_is_answered_and_an_idle_connection_ends_in_order(
    authority: Authority, used: Pair, tmp_path: Path
) -> None:
    with instance(tmp_path, used) as process, closing(connect(process, authority)) as idle:
        idle.sendall(GET)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 OK")
        with closing(connect(process, authority)) as busy:
            busy.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
            process.popen.send_signal(signal.SIGHUP)
            process.wait_for("(?i)reload")
            busy.sendall(b"llo")
            assert busy.recv(65536).startswith(b"HTTP/1.1 200 OK")
        idle.suppress_ragged_eofs = False
        assert idle.recv(65536) == b""  # announced; else it were an SSLEOFError
        process.wait_until(lambda: served(process, authority) == "one.example")
