"""Certificates: from the files of the options to TLS contexts, and anew when the files have changed.

What lives here: `Certificate`, one of them; `Names`, those that clients can ask for by name (SNI); `Tls`, what a
listener has; `watch_certificates`. What does not: the options (`options.tls`), the handshake (`cores.tls`), what an app
is told of a client's certificate (`subjects`).

A context is never changed but made anew, so connections that are open go on with theirs, and files that cannot be used
leave the old ones serving.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import anyio

from uwsgi_async.cores.tls import TlsObject
from uwsgi_async.errors import OptionError
from uwsgi_async.options.tls import (
    SecureSocket,
    TlsFiles,
    TlsOptions,
    read_bits,
    read_name,
    read_name_pattern,
    secure_sockets,
)

logger = logging.getLogger("uwsgi_async")

_LOOK = 1.0  # seconds between two looks at the files
_MOST_NAMES = 1000  # of a directory, that are kept; the rest is read again when it is asked for
# What may be a file's name: labels of letters, digits, hyphens and underscores, so no path and no hidden file.
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*(\.[a-z0-9_-]+)*")
_LONGEST_NAME = 253

Stamp = tuple[tuple[int, int, int] | None, ...]
Choose = Callable[[str], "Certificate | None"]


class Certificate:
    """One certificate, and the context that is made of it. ``option``: what has named it, for messages."""

    def __init__(self, files: TlsFiles, options: TlsOptions, option: str, choose: Choose | None = None) -> None:
        self._files = _absolute(files)
        self._options = options
        self._option = option
        self._choose = choose
        self._stamp = self._look()
        self._seen = self._stamp
        self.context = self._load()

    def __repr__(self) -> str:
        return f"<Certificate {self._files.certificate}>"

    def renew(self, *, settled: bool = False) -> None:
        """Load the files again if they have changed, and log what came of it; keep the context if they are no good.

        ``settled``: only when they have not changed since the last call either, so that nobody is caught writing.
        """
        stamp = self._look()
        seen, self._seen = self._seen, stamp
        if stamp == self._stamp or (settled and stamp != seen):
            return
        self._stamp = stamp  # whatever comes of it: it is told once
        try:
            self.context = self._load()
        except OptionError as error:
            logger.error("%s; the certificate of before goes on serving", error)
        else:
            logger.info("the certificate %s was changed, and is used from now on", self._files.certificate)

    def _look(self) -> Stamp:
        return tuple(map(_stamp, (self._files.certificate, self._files.key, self._files.client_ca)))

    def _load(self) -> ssl.SSLContext:
        context = make_context(self._files, self._options, self._option)
        if self._choose is not None:
            context.sni_callback = self._on_name
        return context

    def _on_name(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> int | None:
        """Refuse the handshake if another context is wanted; the connection begins it again with that one."""
        wanted = None if name is None or self._choose is None else self._choose(name.lower())
        if wanted is None or not isinstance(tls, TlsObject):
            return None
        tls.wanted = wanted.context
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


class Names:
    """The certificates that clients can ask for by name, of all listeners. In uWSGI's order: sni, regexp, dir."""

    def __init__(self, options: TlsOptions) -> None:
        self._options = options
        self._exact = {name: Certificate(files, options, "sni") for name, files in map(read_name, options.sni)}
        self._patterns = [
            (pattern, Certificate(files, options, "sni-regexp"))
            for pattern, files in map(read_name_pattern, options.sni_regexp)
        ]
        self._directory = None if options.sni_dir is None else os.path.abspath(options.sni_dir)
        self._found: dict[str, Certificate] = {}

    def __bool__(self) -> bool:
        return bool(self._exact or self._patterns or self._directory)

    def choose(self, name: str) -> Certificate | None:
        """Return the certificate for a name in lower case; None when none is for it."""
        if name in self._exact:
            return self._exact[name]
        for pattern, certificate in self._patterns:
            if pattern.search(name):
                return certificate
        return None if self._directory is None else self._of_directory(self._directory, name)

    def certificates(self) -> Sequence[Certificate]:
        """Return all that are loaded."""
        return [*self._exact.values(), *(certificate for _, certificate in self._patterns), *self._found.values()]

    def _of_directory(self, directory: str, name: str) -> Certificate | None:
        if name in self._found:
            return self._found[name]
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            return None
        certificate, key, client_ca = (os.path.join(directory, name + suffix) for suffix in (".crt", ".key", ".ca"))
        if not (os.path.exists(certificate) and os.path.exists(key)):
            return None
        files = TlsFiles(
            certificate, key, self._options.sni_dir_ciphers, client_ca if os.path.exists(client_ca) else ""
        )
        if len(self._found) >= _MOST_NAMES:
            self._found.clear()
        try:
            self._found[name] = Certificate(files, self._options, "sni-dir")
        except OptionError as error:
            logger.error("%s; the default certificate is used", error)
            return None
        return self._found[name]


class Tls:
    """What TLS is spoken with at one listener. ``number``: of its socket in `secure_sockets`."""

    def __init__(self, number: int, socket: SecureSocket, certificate: Certificate, names: Names) -> None:
        self.number = number
        self.socket = socket
        self._certificate = certificate
        self.names = names

    @property
    def context(self) -> ssl.SSLContext:
        return self._certificate.context

    def certificates(self) -> Sequence[Certificate]:
        """Return all that are loaded and may be used here."""
        return [self._certificate, *self.names.certificates()]


def load_certificates(options: TlsOptions) -> list[Tls]:
    """Return what each of `secure_sockets` needs, in its order. Raises `OptionError` for files that cannot be used."""
    sockets = secure_sockets(options)
    if not sockets:
        return []
    names = Names(options)
    choose = names.choose if names else None
    return [
        Tls(number, socket, Certificate(socket.files, options, socket.option, choose), names)
        for number, socket in enumerate(sockets)
    ]


async def watch_certificates(listeners: Sequence[Tls]) -> None:
    """Load certificates again when their files have changed, until cancelled."""

    def renew(settled: bool) -> None:
        for certificate in {certificate for tls in listeners for certificate in tls.certificates()}:
            certificate.renew(settled=settled)

    renew(False)  # they were loaded in another process, perhaps long ago
    while True:
        await anyio.sleep(_LOOK)
        renew(True)


def make_context(files: TlsFiles, options: TlsOptions, option: str) -> ssl.SSLContext:
    """Return a server's context. Raises `OptionError` with a sentence that names ``option`` and the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = TlsObject
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    ciphers = files.ciphers
    if options.ssl_enable_tlsv1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the operator has asked for it
            context.minimum_version = ssl.TLSVersion.TLSv1
        ciphers = ciphers or "DEFAULT:@SECLEVEL=0"  # without which OpenSSL 3 speaks neither
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    for bits in map(read_bits, options.ssl_option):
        context.options |= bits
    _load_chain(context, files, option)
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError as error:
            raise OptionError(f"{option}: OpenSSL knows none of the ciphers {ciphers!r}") from error
    if files.client_ca:
        _check_readable(files.client_ca, "client CA", option)
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise OptionError(f"{option}: the client CA {files.client_ca} holds no certificate in PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED if files.client_must else ssl.CERT_OPTIONAL
    return context


def _load_chain(context: ssl.SSLContext, files: TlsFiles, option: str) -> None:
    key = files.key or files.certificate
    _check_readable(files.certificate, "certificate", option)
    _check_readable(key, "key", option)

    def refuse() -> NoReturn:
        raise OptionError(
            f"{option}: the key {key} needs a password, and nobody is there to type it: openssl pkey writes one without"
        )

    try:
        context.load_cert_chain(files.certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise OptionError(f"{option}: the key {key} is not that of the certificate {files.certificate}") from error
        raise OptionError(
            f"{option}: expected a certificate in PEM in {files.certificate} and a key in PEM in {key}; OpenSSL says "
            f"{error.reason or error}"
        ) from error


def _check_readable(path: str, what: str, option: str) -> None:
    """Raise a sentence that names the file: OpenSSL's own error does not say which one it was."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise OptionError(f"{option}: the {what} {path} cannot be read: {error.strerror}") from error


def _absolute(files: TlsFiles) -> TlsFiles:
    """Return the same files wherever the app goes with chdir."""
    certificate, key, client_ca = (
        os.path.abspath(path) if path else "" for path in (files.certificate, files.key, files.client_ca)
    )
    return TlsFiles(certificate, key, files.ciphers, client_ca, files.client_must)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
