"""The options of TLS: where it is spoken, and with which certificates.

What lives here: `TlsOptions`, the readers of what its options are made of, and `secure_sockets`, which puts them
together. What does not: reading certificates (`instance.certificates`), speaking TLS (`cores.tls`).
Source: uWSGI's pages "HTTPS support" and "SNI"; plugins/http/https.c, core/ssl.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from uwsgi_async.errors import OptionError
from uwsgi_async.options.declare import Form, option
from uwsgi_async.options.keyval import parse_keyval

_KEYS: Final = ("addr", "cert", "crt", "key", "ciphers", "clientca", "client_ca", "spdy")
_PARTS: Final = 4  # certificate, key, ciphers, client CA


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one certificate is used with.

    ``certificate``: PEM file, the server's own first, then the chain. ``key``: PEM file; "" is the certificate's own.
    ``ciphers``: as OpenSSL spells them, for TLS up to 1.2; "" is its default. ``client_ca``: PEM file of those who sign
    the certificates of clients; "" asks clients for none. ``client_must``: whether a client without one is refused.
    """

    certificate: str
    key: str = ""
    ciphers: str = ""
    client_ca: str = ""
    client_must: bool = False


@dataclass(frozen=True, slots=True)
class SecureSocket:
    """An address that TLS is spoken at. ``option``: the one that has named it, for messages."""

    address: str
    protocol: Literal["http", "uwsgi"]
    files: TlsFiles
    option: str


def read_secure(text: str) -> tuple[str, TlsFiles | None]:
    """Return the address and the files of "addr,certificate,key[,ciphers[,client-ca]]"; the address may stand alone."""
    address, comma, rest = text.partition(",")
    if not address:
        raise ValueError(f"expected an address first, got {text!r}")
    return address, _read_files(rest) if comma else None


def read_secure_keyval(text: str) -> tuple[str, TlsFiles | None]:
    """Return the address and the files of "addr=,cert=,key=,ciphers=,client_ca="."""
    try:
        values = parse_keyval(text, _KEYS, "https2")
    except OptionError as error:
        raise ValueError(str(error)) from error
    certificate = values.get("cert", values.get("crt", ""))
    if not values.get("addr"):
        raise ValueError(f"expected addr=, got {text!r}")
    if not certificate:
        return values["addr"], None
    client_ca = values.get("clientca", values.get("client_ca", ""))
    return values["addr"], _files(certificate, values.get("key", ""), values.get("ciphers", ""), client_ca)


def read_name(text: str) -> tuple[str, TlsFiles]:
    """Return the name and the files of "name certificate,key[,ciphers[,client-ca]]"."""
    name, _, rest = text.partition(" ")
    if not name:
        raise ValueError(f"expected a name first, got {text!r}")
    return name.lower(), _read_files(rest.strip())


def read_name_pattern(text: str) -> tuple[re.Pattern[str], TlsFiles]:
    """Return the regular expression, which is searched for in names, and the files."""
    name, files = read_name(text)
    try:
        return re.compile(text[: len(name)], re.IGNORECASE), files
    except re.error as error:
        raise ValueError(f"{name!r} is no regular expression: {error}") from error


def read_bits(text: str) -> int:
    """Return the number of one of OpenSSL's SSL_OP_ constants, in decimal or with 0x in front."""
    value = int(text, 0)
    if not 0 <= value < 1 << 63:
        raise ValueError(f"expected the number of an option of OpenSSL, got {text!r}")
    return value


def _read_files(text: str) -> TlsFiles:
    certificate, *more = text.split(",")
    if not certificate or not more or len(more) >= _PARTS:
        raise ValueError(f"expected certificate,key[,ciphers[,client-ca]], got {text!r}")
    key, ciphers, client_ca = (*more, "", "")[: _PARTS - 1]
    return _files(certificate, key, ciphers, client_ca)


def _files(certificate: str, key: str, ciphers: str, client_ca: str) -> TlsFiles:
    return TlsFiles(certificate, key, ciphers, client_ca.removeprefix("!"), client_ca.startswith("!"))


_SECURE: Final = Form("127.0.0.1:8443,server.pem,server.key", read_secure)
_SECURE_KEYVAL: Final = Form("addr=127.0.0.1:8443,cert=server.pem,key=server.key", read_secure_keyval)
_NAME: Final = Form("example.com server.pem,server.key", read_name)
_NAME_PATTERN: Final = Form(r"\.example\.com$ server.pem,server.key", read_name_pattern)
_BITS: Final = Form("16384", read_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """Where TLS is spoken, and with which certificates. For `instance.certificates`."""

    FIXED: ClassVar = True

    https: tuple[str, ...] = option(
        (),
        "https",
        "https-socket",
        repeat=True,
        form=_SECURE,
        help="serve HTTPS at this address: addr,certificate,key[,ciphers[,client-ca]]; !client-ca insists on it",
    )
    https2: tuple[str, ...] = option(
        (),
        "https2",
        repeat=True,
        form=_SECURE_KEYVAL,
        help="serve HTTPS at this address: addr=,cert=,key=,ciphers=,client_ca=",
    )
    ssl_socket: tuple[str, ...] = option(
        (),
        "ssl-socket",
        "suwsgi-socket",
        repeat=True,
        form=_SECURE,
        help="serve the uwsgi protocol over TLS at this address: addr,certificate,key[,ciphers[,client-ca]]",
    )
    certificate: str | None = option(
        None, "certificate", help="PEM file with the certificate of addresses that name none, and its chain"
    )
    certificate_key: str | None = option(
        None, "certificate-key", help="PEM file with the key of certificate; without it the key is in the same file"
    )
    ciphers: str | None = option(
        None, "ciphers", help="ciphers of TLS up to 1.2 for certificate, as OpenSSL spells them"
    )
    client_ca: str | None = option(
        None,
        "client-ca",
        help="PEM file of those who sign clients' certificates; with ! in front each client needs one",
    )
    sni: tuple[str, ...] = option(
        (),
        "sni",
        repeat=True,
        form=_NAME,
        help="use another certificate for a client that asks for this name: name certificate,key[,ciphers[,client-ca]]",
    )
    sni_regexp: tuple[str, ...] = option(
        (), "sni-regexp", repeat=True, form=_NAME_PATTERN, help="the same for all names with this regular expression"
    )
    sni_dir: str | None = option(
        None,
        "sni-dir",
        help="the same for all names that this directory has a name.crt and a name.key of, and a name.ca",
    )
    sni_dir_ciphers: str = option("", "sni-dir-ciphers", help="ciphers for the certificates of sni-dir")
    ssl_enable_tlsv1: bool = option(False, "ssl-enable-tlsv1", help="speak TLS 1.0 and 1.1, too; both are insecure")
    ssl_option: tuple[str, ...] = option(
        (), "ssl-option", repeat=True, form=_BITS, help="set one of OpenSSL's SSL_OP_ constants, by its number"
    )
    ssl_handshake_timeout: float = option(
        10.0, "ssl-handshake-timeout", unit="seconds", help="time for a TLS handshake", minimum=0.001
    )
    ssl_verbose: bool = option(False, "ssl-verbose", help="log each TLS handshake that fails, and why")
    https_export_cert: bool = option(
        False, "https-export-cert", help="tell apps the client's certificate also as PEM, in HTTPS_CC"
    )

    @property
    def default_files(self) -> TlsFiles | None:
        """The files of addresses that name none."""
        if self.certificate is None:
            return None
        return _files(self.certificate, self.certificate_key or "", self.ciphers or "", self.client_ca or "")


def secure_sockets(options: TlsOptions) -> list[SecureSocket]:
    """Return every address that TLS is spoken at, always in one order. Raises `OptionError` without a certificate."""
    return list(_secure_sockets(options))


def _secure_sockets(options: TlsOptions) -> Iterator[SecureSocket]:
    groups = (
        ("https", "http", map(read_secure, options.https)),
        ("https2", "http", map(read_secure_keyval, options.https2)),
        ("ssl-socket", "uwsgi", map(read_secure, options.ssl_socket)),
    )
    for name, protocol, sockets in groups:
        for address, files in sockets:
            files = files or options.default_files
            if files is None:
                raise OptionError(
                    f"{name}: {address} has no certificate: give {address},server.pem,server.key or the options "
                    "certificate and certificate-key"
                )
            yield SecureSocket(address, "http" if protocol == "http" else "uwsgi", files, name)
