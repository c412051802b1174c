"""What a parser of request heads must do: the seam behind which httptools and h11 are interchangeable.

A parser only sees field lines that `screen` has found well-formed, behind a request line of its own making. It never
decides anything about framing, the target or the version: that is `rules`. So a parser can be swapped without a
change in any verdict.
"""

from typing import Protocol


class FieldsRefusedError(Exception):
    """The parser refused field lines that the screen had passed; never leaves `wire.http`."""


class FieldsParser(Protocol):
    """Parses the header fields of one request."""

    def __call__(self, fields: bytes, count: int, environ: dict[str, str]) -> None:
        r"""Add each field of ``fields`` to ``environ`` with the rules of `names.add_field`.

        ``fields`` is the field lines, each with its CRLF, and the empty line that ends the head (RFC 9112, 2.1);
        ``count`` is how many they are.
        Raises `FieldsRefusedError` if the parser refuses them, and `BadRequestError` from `names.add_field`.
        """
