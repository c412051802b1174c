"""XML-RPC whose values are strings, as uWSGI's RPC speaks it: a body to a call, a result to a response. No I/O.

What lives here: `decode_xml_call`, `encode_xml_result`. What does not: who serves them (`cores.rpc`). The marshalling
is that of Python's `xmlrpc.client`; its reader is driven here, because a document type, by which a few bytes become
gigabytes, is refused. Source: xmlrpc.com/spec.md; uWSGI's plugins/rpc/rpc_plugin.c.
"""

from __future__ import annotations

import re
from xml.parsers import expat
from xmlrpc.client import Binary, Unmarshaller, dumps

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.uwsgi.rpc import MAX_ARGUMENTS, RpcCall

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decode_xml_call(body: bytes) -> RpcCall:
    """Return the call in a ``methodCall``. Raises `BadRequestError` (400) for anything but strings in it."""
    unmarshaller = Unmarshaller()
    parser = expat.ParserCreate()
    parser.StartElementHandler = unmarshaller.start
    parser.EndElementHandler = unmarshaller.end
    parser.CharacterDataHandler = unmarshaller.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    unmarshaller.xml("", None)  # what comes is text already
    try:
        parser.Parse(body, True)
        values = unmarshaller.close()
        name = unmarshaller.getmethodname()
    except BadRequestError:
        raise
    except Exception as error:
        raise BadRequestError(400, f"expected an XML-RPC call, but it cannot be read: {error!r:.200}") from error
    if not name:
        raise BadRequestError(400, "expected an XML-RPC call, but it has no methodName")
    texts = [value for value in values if isinstance(value, str)]
    if len(values) > MAX_ARGUMENTS or len(texts) < len(values):
        raise BadRequestError(400, f"expected at most {MAX_ARGUMENTS} parameters, all of them strings")
    return RpcCall(name.encode(), tuple(text.encode() for text in texts))


def encode_xml_result(result: bytes) -> bytes:
    """Return a ``methodResponse``: a string, or base64 for bytes that no XML can hold."""
    try:
        text = result.decode()
    except UnicodeDecodeError:
        text = ""
    value = Binary(result) if not text or _NO_XML.search(text) else text
    return dumps((value,), methodresponse=True).encode()


def _refuse_doctype(*_: object) -> None:
    raise BadRequestError(400, "expected an XML-RPC call without a document type")
