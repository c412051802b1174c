"""Every way to a cache behind one interface: in this process, over a socket, over a socket to real uWSGI.

Each is an async context manager that gives an `Engine` for an empty cache of 19 items, with values of up to 100 bytes
and keys of up to 600.
"""

from __future__ import annotations

import operator
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from tests.parity.oracle import home, require
from tests.state.cache.making import one
from uwsgi_async import run
from uwsgi_async.state.cache.counting import quotient
from uwsgi_async.state.cache.local import LocalCache
from uwsgi_async.state.cache.remote import RemoteCache

SPEC = "items=20,blocksize=100,keysize=600"
OPERATIONS = {"inc": operator.add, "dec": operator.sub, "mul": operator.mul, "div": quotient}


class Engine:
    """A cache, asked as `RemoteCache` is."""

    def __init__(self, cache: RemoteCache) -> None:
        self.cache: Any = cache

    async def get(self, key: bytes | str) -> bytes | None:
        found: bytes | None = await self.cache.get(key)
        return found

    async def expiry(self, key: bytes | str) -> int | None:
        found = await self.cache.get_with_expiry(key)
        return None if found is None else int(found[1])

    async def set(self, key: bytes | str, value: bytes | str, expires: int = 0) -> bool | None:
        return await self.cache.put(key, value, expires, False)  # type: ignore[no-any-return]

    async def update(self, key: bytes | str, value: bytes | str, expires: int = 0) -> bool | None:
        return await self.cache.put(key, value, expires, True)  # type: ignore[no-any-return]

    async def delete(self, key: bytes | str) -> bool | None:
        return await self.cache.delete(key)  # type: ignore[no-any-return]

    async def exists(self, key: bytes | str) -> bool | None:
        return await self.cache.exists(key)  # type: ignore[no-any-return]

    async def clear(self) -> bool | None:
        return await self.cache.clear()  # type: ignore[no-any-return]

    async def num(self, key: bytes | str) -> int:
        return await self.cache.num(key)  # type: ignore[no-any-return]

    async def count(self, operation: str, key: bytes | str, operand: int = 1, expires: int = 0) -> bool | None:
        return await self.cache.calculate(key, operation, operand, expires)  # type: ignore[no-any-return]


class _Awaitable:
    """A local cache whose methods are coroutine functions."""

    def __init__(self, cache: LocalCache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            if name == "calculate":
                args = (args[0], OPERATIONS[args[1]], *args[2:])
            return getattr(self._cache, name)(*args)

        return call


@asynccontextmanager
async def embedded(_tmp: Path) -> AsyncIterator[Engine]:
    with one(SPEC) as cache:
        yield Engine(_Awaitable(cache))  # type: ignore[arg-type]


@asynccontextmanager
async def remote(tmp: Path) -> AsyncIterator[Engine]:
    async def app(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError("no request comes")

    path = str(tmp / "cache.sock")
    async with run(app, socket=path, cache2=(f"name=first,{SPEC}", f"name=other,{SPEC}")):
        yield Engine(RemoteCache("other", path))


@asynccontextmanager
async def real_uwsgi(tmp: Path) -> AsyncIterator[Engine]:
    program = require()
    path = tmp / "real.sock"
    words = ["--socket", str(path), "--cache2", f"name=first,{SPEC}", "--cache2", f"name=other,{SPEC}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with (tmp / "real.log").open("wb") as log:
        process = await anyio.open_process(
            [program, "--home", home(), *words], stdout=log, stderr=log, env=environment, cwd=tmp
        )
    try:
        with anyio.fail_after(20):
            while "spawned uWSGI" not in (tmp / "real.log").read_text():
                assert process.returncode is None, (tmp / "real.log").read_text()
                await anyio.sleep(0.02)
        yield Engine(RemoteCache("other", str(path)))
    finally:
        process.kill()
        await process.wait()


ENGINES: dict[str, Callable[[Path], AbstractAsyncContextManager[Engine]]] = {
    "embedded": embedded,
    "remote": remote,
    "real uWSGI": real_uwsgi,
}
