import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import AddressError
from uwsgi_async.wire.address import AbstractAddress, Address, FdAddress, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address", "spelling"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80), None),
        ("localhost:8000", TcpAddress("localhost", 8000), None),
        (":80", TcpAddress("", 80), None),
        ("a:0", TcpAddress("a", 0), None),
        ("a:65535", TcpAddress("a", 65535), None),
        ("[::1]:80", TcpAddress("::1", 80), None),
        ("[::]:0", TcpAddress("::", 0), None),
        ("/run/app.sock", UnixAddress("/run/app.sock"), None),
        ("/run/a:1", UnixAddress("/run/a:1"), None),
        ("./a:1", UnixAddress("./a:1"), None),
        ("app.sock", UnixAddress("app.sock"), None),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock"), "/run/app.sock"),
        ("unix:app:1", UnixAddress("app:1"), None),
        ("unix:@app", UnixAddress("@app"), None),
        ("unix:80", UnixAddress("80"), None),
        ("@app", AbstractAddress("app"), None),
        ("\0app", AbstractAddress("app"), "@app"),
        ("\\0app", AbstractAddress("app"), "@app"),
        ("fd://3", FdAddress(3), None),
    ],
)
def test_each_spelling_is_understood_and_given_back(text: str, address: Address, spelling: str | None) -> None:
    assert parse_address(text) == address
    assert str(address) == (spelling or text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; expected host:port"),
        ("a:", "the port of the address 'a:' is ''; expected a number of 0 to 65535"),
        ("a:65536", "is '65536'; expected a number of 0 to 65535"),
        ("a:-1", "is '-1'"),
        ("a:\u0663", "expected a number"),
        ("a:" + "9" * 5000, "expected a number"),
        ("::1:80", "put an IPv6 address in brackets"),
        ("[a]:80", "put an IPv6 address in brackets"),
        ("[::1]", "put an IPv6 address in brackets"),
        ("a b:80", "has no valid host"),
        ("run/a:80", "has no valid host"),
        ("http://a:80", "is a URL"),
        ("8000", "write ':8000' for a port"),
        ("@", "has no name"),
        ("unix:", "has no valid path"),
        ("/a\0b", "has no valid path"),
        ("fd://", "the file descriptor of the address 'fd://' is ''"),
        ("fd://x", "expected a number of 0 to 2147483647"),
    ],
)
def test_anything_else_is_refused_with_a_sentence_that_helps(text: str, sentence: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert sentence in str(caught.value)


@given(st.text(st.sampled_from("a1:[]/.@\\0 \0fdunix")))
def test_the_spelling_of_an_address_is_understood_as_the_same_address(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address
