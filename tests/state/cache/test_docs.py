"""docs/caching.md says what is so."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

import pytest

import uwsgi_async
from tests.command import ROOT
from uwsgi_async.options.caching import CacheSpec

PAGE = (ROOT / "docs" / "caching.md").read_text()
UNSAID = {"hash", "hashsize"}  # accepted, and without a meaning here


def test_every_word_of_cache2_is_in_the_table() -> None:
    table = PAGE.partition("## What the words of cache2 mean")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(\w+)(?:=\w+)?`(?=[^|]*\|)", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.M)) + "|"))
    assert told == {field.name for field in dataclasses.fields(CacheSpec)} - UNSAID


@pytest.mark.anyio
async def test_the_functions_answer_as_their_comments_say() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0]
    names: dict[str, Any] = {"uwsgi_async": uwsgi_async}

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    async with uwsgi_async.run(app, http="127.0.0.1:0", cache2=("name=pages,items=10", "name=sessions,items=10")):
        told = 0
        for line in code.splitlines():
            call, _, comment = line.partition("  #")
            if not call.startswith("uwsgi_async."):
                continue
            answer = eval(call, names)
            literal = re.match(r"\s*(b\"\w+\"|None|\d+)(?=$|[,:;])", comment)
            if literal:
                told += 1
                assert answer == ast.literal_eval(literal[1]), line
        assert told == 3
