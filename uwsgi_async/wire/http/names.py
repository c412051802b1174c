"""Header names to environ keys, and the one rule for fields that come more than once.

The names that clients send are few, so the key of each is computed once and kept in a bounded dict.
"""

from uwsgi_async.errors import BadRequestError

MAX_CACHED_NAMES = 1024
"""Most names kept: a client that invents names must not fill the memory."""

MAX_CACHED_NAME_LENGTH = 64

DROPPED = ""
"""The key of a field that is not passed on."""

environ_keys: dict[bytes, str] = {}
"""Field name as sent -> environ key; filled by `environ_key`; a dropped name is never in it."""

_UNPREFIXED = frozenset(("CONTENT_LENGTH", "CONTENT_TYPE"))
_ONCE_ONLY = frozenset(("CONTENT_LENGTH", "HTTP_HOST"))


def environ_key(name: bytes) -> str:
    """Return the environ key of a field name (RFC 3875, 4.1.18), or `DROPPED`.

    A name with "_" is dropped: it would get the key of the name with "-" instead, and so could forge a header that
    a proxy in front removes or sets.
    """
    key = environ_keys.get(name)
    if key is None:
        key = _compute_key(name)
        if key and len(environ_keys) < MAX_CACHED_NAMES and len(name) <= MAX_CACHED_NAME_LENGTH:
            environ_keys[name] = key
    return key


def add_field(environ: dict[str, str], name: bytes, value: bytes) -> None:
    """Add one header field to ``environ``, the value without surrounding blanks, as a latin-1 str.

    A repeated field is joined with ", " (RFC 9110, 5.3), a cookie with "; " (RFC 6265, 5.4). Raises
    `BadRequestError` (400) for a repeated Host (RFC 9112, 3.2) or Content-Length (RFC 9112, 6.3).
    """
    key = environ_key(name)
    if not key:
        return
    text = value.strip(b" \t").decode("latin-1")
    if key not in environ:
        environ[key] = text
    elif key in _ONCE_ONLY:
        raise BadRequestError(400, f"expected one {key}, got a second one")
    else:
        environ[key] += ("; " if key == "HTTP_COOKIE" else ", ") + text


def _compute_key(name: bytes) -> str:
    if b"_" in name:
        return DROPPED
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in _UNPREFIXED else "HTTP_" + key


_COMMON = """
    Accept Accept-Charset Accept-Encoding Accept-Language Authorization Cache-Control Connection Content-Encoding
    Content-Length Content-Type Cookie DNT Expect Forwarded Host If-Match If-Modified-Since If-None-Match If-Range
    If-Unmodified-Since Keep-Alive Origin Pragma Priority Proxy-Connection Range Referer Sec-CH-UA Sec-CH-UA-Mobile
    Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User TE Traceparent Tracestate Trailer
    Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Via X-Forwarded-For X-Forwarded-Host
    X-Forwarded-Port X-Forwarded-Proto X-Real-IP X-Request-ID X-Requested-With
"""

# From the start, so that a client which fills the cache with names of its own does not slow down the others.
for _name in _COMMON.split():
    environ_key(_name.encode("ascii"))
    environ_key(_name.lower().encode("ascii"))
del _name
