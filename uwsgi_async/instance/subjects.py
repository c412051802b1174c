"""What an app is told of a client's certificate, by the names that uWSGI gives it.

What lives here: `client_vars`. What does not: whether a certificate is good: OpenSSL has decided that in the handshake.
Source: plugins/http/https.c; OpenSSL's X509_NAME_oneline and its table of objects.
"""

from __future__ import annotations

import ssl
from typing import Final

Subject = tuple[tuple[tuple[str, str], ...], ...]

# OpenSSL's short names, where they differ from the long ones, which Python tells.
_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "initials": "initials",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}


def client_vars(certificate: bytes, subject: Subject, *, export: bool) -> dict[str, str]:
    """Return the request variables for a client's certificate in DER; none for b"".

    ``export``: also as PEM. A byte is one character, as in all request variables.
    """
    if not certificate:
        return {}
    variables = {"HTTPS_CLIENT_CERTIFICATE": certificate.decode("latin-1"), "HTTPS_DN": one_line(subject)}
    if export:
        variables["HTTPS_CC"] = ssl.DER_cert_to_PEM_cert(certificate)
    return variables


def one_line(subject: Subject) -> str:
    r"""Return a subject as X509_NAME_oneline of OpenSSL 3 writes it: "/C=IT/O=unbit/CN=name".

    What is not printable is \xHH, and what separates names has a backslash in front, so that no value looks like two.
    """
    parts = []
    for relative_name in subject:
        for name, value in relative_name:
            text = "".join(map(_shown, value.encode()))
            parts.append(f"/{_SHORT.get(name, name)}={text}")
    return "".join(parts)


def _shown(byte: int) -> str:
    if not 0x20 <= byte <= 0x7E:
        return f"\\x{byte:02X}"
    return f"\\{byte:c}" if byte in b"/+" else chr(byte)
