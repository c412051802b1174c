"""Certificates for the tests of TLS: an authority, what it signs, and clients' contexts that trust it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import trustme


class Pair(NamedTuple):
    """Two PEM files."""

    certificate: str
    key: str

    def __str__(self) -> str:
        """As uWSGI's options have them."""
        return ",".join(self)


class Authority:
    """Signs certificates, and writes them to files."""

    def __init__(self, place: Path, name: str = "authority") -> None:
        self._ca = trustme.CA(organization_name=name)
        self._place = place
        self.file = str(place / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *others: str, common_name: str | None = None, place: Path | None = None) -> Pair:
        """Write a certificate for these names; the files have the first one. ``place``: another directory for them."""
        leaf = self._ca.issue_cert(name, *others, common_name=common_name)
        file = (place or self._place) / name.replace("*", "any")
        pair = Pair(f"{file}.crt", f"{file}.key")
        Path(pair.certificate).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(pair.key)
        return pair

    @staticmethod
    def der(pair: Pair) -> bytes:
        """Return the first certificate of a file, in DER."""
        end = "-----END CERTIFICATE-----\n"
        return ssl.PEM_cert_to_DER_cert(Path(pair.certificate).read_text().partition(end)[0] + end)

    def context(self, client: Pair | None = None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority; ``client``: the certificate that it shows."""
        context = ssl.create_default_context(cafile=self.file)
        context.maximum_version = newest
        if client is not None:
            context.load_cert_chain(*client)
        return context
