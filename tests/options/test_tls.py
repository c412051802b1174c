"""What the options of TLS are made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import OptionError
from uwsgi_async.options.build import build
from uwsgi_async.options.tls import (
    SecureSocket,
    TlsFiles,
    read_bits,
    read_name,
    read_name_pattern,
    read_secure,
    read_secure_keyval,
    secure_sockets,
)

CASES = {
    ":8443,a.crt,a.key": (":8443", TlsFiles("a.crt", "a.key")),
    ":8443,a.crt,a.key,HIGH": (":8443", TlsFiles("a.crt", "a.key", "HIGH")),
    ":8443,a.crt,a.key,HIGH,ca.crt": (":8443", TlsFiles("a.crt", "a.key", "HIGH", "ca.crt")),
    "[::1]:8443,a.crt,a.key,,!ca.crt": ("[::1]:8443", TlsFiles("a.crt", "a.key", "", "ca.crt", True)),
    ":8443": (":8443", None),
}


@pytest.mark.parametrize("text", CASES)
def test_an_address_is_followed_by_its_files(text: str) -> None:
    assert read_secure(text) == CASES[text]


@pytest.mark.parametrize("text", ["", ",a,b", ":1,a.crt", ":1,,a.key", ":1,a,b,c,d,e"])
def test_what_is_no_address_with_files_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_secure(text)
    with pytest.raises(OptionError, match="https: expected text such as"):
        build(https=text)


def test_the_same_by_keys_which_have_the_names_of_uwsgi() -> None:
    files = TlsFiles("a.crt", "a.key", "HIGH", "ca.crt", True)
    assert read_secure_keyval("addr=:1,cert=a.crt,key=a.key,ciphers=HIGH,client_ca=!ca.crt,spdy=1") == (":1", files)
    assert read_secure_keyval("addr=:1,crt=a.crt,key=a.key,ciphers=HIGH,clientca=!ca.crt") == (":1", files)
    for wrong in ("cert=a", "addr=:1,certificate=a", "addr"):
        with pytest.raises(ValueError, match=r"expected|unknown"):
            read_secure_keyval(wrong)


def test_a_name_is_followed_by_its_files() -> None:
    files = TlsFiles("a.crt", "a.key", "HIGH", "ca.crt")
    assert read_name("Example.com a.crt,a.key,HIGH,ca.crt") == ("example.com", files)
    pattern, files = read_name_pattern(r"\.Example\.com$ a.crt,a.key")
    assert pattern.search("www.example.com")
    for wrong in ("example.com", "example.com a.crt", " a.crt,a.key"):
        with pytest.raises(ValueError, match="expected"):
            read_name(wrong)
    with pytest.raises(ValueError, match="no regular expression"):
        read_name_pattern("( a.crt,a.key")


@pytest.mark.parametrize("read", [read_secure, read_secure_keyval, read_name, read_name_pattern, read_bits])
@given(text=st.text(st.sampled_from("=,!\\ :/.()[]*abAB01xX-"), max_size=30) | st.text(max_size=10))
def test_a_reader_raises_nothing_but_valueerror(read: Callable[[str], object], text: str) -> None:
    try:
        read(text)
    except ValueError:
        pass


def test_addresses_without_files_have_those_of_the_options() -> None:
    options = build(
        https=(":1", ":2,b.crt,b.key"),
        ssl_socket=":3",
        certificate="a.crt",
        certificate_key="a.key",
        client_ca="!ca.crt",
    )
    default = TlsFiles("a.crt", "a.key", "", "ca.crt", True)
    assert secure_sockets(options.tls) == [
        SecureSocket(":1", "http", default, "https"),
        SecureSocket(":2", "http", TlsFiles("b.crt", "b.key"), "https"),
        SecureSocket(":3", "uwsgi", default, "ssl-socket"),
    ]


@pytest.mark.parametrize("text", ["", "x", "-1", "0x", str(1 << 63)])
def test_an_option_of_openssl_is_a_number(text: str) -> None:
    with pytest.raises(OptionError):
        build(ssl_option=text)
