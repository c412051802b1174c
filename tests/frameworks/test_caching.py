"""cachelib's and Flask-Caching's back ends for uWSGI's cache, unchanged, as their users use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cachelib import UWSGICache
from flask import Flask
from flask_caching import Cache as FlaskCache

import uwsgi_async
from tests.client import get

pytestmark = pytest.mark.anyio

CACHES = ("name=first,items=100", "name=pages,items=100,blocksize=4096,purge_lru")


async def told_by(function: Any, **options: Any) -> Any:
    """What ``function`` returns when it is called in a request of a sync app."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(function()).encode()]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cache2=CACHES, **options) as server:
        answer = await get(server, "/")
    assert answer.status == 200
    return json.loads(answer.body)


@pytest.mark.parametrize("name", ["", "pages"])
async def test_cachelib_keeps_python_objects(name: str) -> None:
    def use() -> list[Any]:
        cache = UWSGICache(default_timeout=300, cache=name)
        return [
            cache.set("k", {"a": [1, 2.5, None, "é"]}),
            cache.get("k"),
            cache.has("k"),
            cache.has("none"),
            cache.get("none"),
            cache.delete("k"),
            cache.delete("k"),
            cache.get("k"),
        ]

    assert await told_by(use) == [True, {"a": [1, 2.5, None, "é"]}, True, False, None, True, False, None]


async def test_cachelib_adds_counts_and_takes_many_at_once() -> None:
    def use() -> list[Any]:
        cache = UWSGICache(cache="first")
        return [
            cache.add("k", 1),
            cache.add("k", 2),
            cache.inc("k", 5),
            cache.dec("k", 1),
            cache.set_many({"x": 1, "y": [2]}),
            cache.get_many("x", "y", "z"),
            cache.get_dict("x", "z"),
            cache.delete_many("x", "y"),
            cache.get("x"),
            cache.clear(),
            cache.get("k"),
        ]

    answers = await told_by(use)
    assert answers == [True, False, 6, 5, ["x", "y"], [1, [2], None], {"x": 1, "z": None}, ["x", "y"], None, True, None]


async def test_cachelib_reaches_another_instance(tmp_path: Path) -> None:
    path = str(tmp_path / "other.sock")

    def use() -> list[Any]:
        cache = UWSGICache(cache=f"pages@{path}")
        return [cache.set("k", "remote"), cache.get("k"), UWSGICache(cache="pages").get("k"), cache.delete("k")]

    assert await told_by(use, socket=path) == [True, "remote", "remote", True]


def flask_app() -> Flask:
    app = Flask(__name__)
    cache = FlaskCache(
        app,
        config={
            "CACHE_TYPE": "flask_caching.contrib.uwsgicache.UWSGICache",
            "CACHE_UWSGI_NAME": "pages",
            "CACHE_DEFAULT_TIMEOUT": 60,
        },
    )
    calls = {"view": 0, "memoized": 0}

    @app.get("/view")
    @cache.cached(timeout=50, query_string=True)
    def view() -> str:
        calls["view"] += 1
        return f"rendered {calls['view']}"

    @cache.memoize()
    def square(number: int) -> int:
        calls["memoized"] += 1
        return number * number

    @app.get("/square/<int:number>")
    def show(number: int) -> str:
        return f"{square(number)} after {calls['memoized']}"

    @app.get("/forget")
    def forget() -> str:
        cache.delete_memoized(square)
        cache.clear()
        return "forgotten"

    return app


async def test_flask_caching_caches_views_and_functions() -> None:
    apps: list[Flask] = []

    def app(environ: Any, start_response: Any) -> Any:
        if not apps:  # it wants the uwsgi module, which is there while the instance runs
            apps.append(flask_app())
        return apps[0](environ, start_response)

    async with uwsgi_async.run(app, http="127.0.0.1:0", cache2=CACHES) as server:

        async def told(path: str) -> str:
            answer = await get(server, path)
            assert answer.status == 200
            return answer.body.decode()

        assert [await told("/view") for _ in range(3)] == ["rendered 1"] * 3
        assert await told("/view?x=1") == "rendered 2"
        assert [await told("/square/7") for _ in range(2)] == ["49 after 1"] * 2
        assert await told("/square/8") == "64 after 2"
        assert uwsgi_async.cache("pages").statistics().hits >= 3
        assert await told("/forget") == "forgotten"
        assert await told("/view") == "rendered 3"
        assert await told("/square/7") == "49 after 3"
