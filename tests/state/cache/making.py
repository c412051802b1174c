"""Caches for tests: made from the words of ``--cache2``, closed at the end of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from uwsgi_async.options.build import build
from uwsgi_async.state.cache.caches import Caches
from uwsgi_async.state.cache.local import LocalCache


@contextmanager
def made(*texts: str, **options: object) -> Iterator[Caches]:
    """The caches that ``--cache2`` makes of ``texts``."""
    caches = Caches.create(build(cache2=texts, **options).cache)
    assert caches is not None
    try:
        yield caches
    finally:
        caches.close()


@contextmanager
def one(text: str, **options: object) -> Iterator[LocalCache]:
    """One cache named c: ``text`` is all but its name."""
    with made(f"name=c,{text}", **options) as caches:
        yield caches.by_name["c"]
