"""Every option that real uWSGI prints in its help is known here, with the same letter and need of a value."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.parity.oracle import binary
from uwsgi_async.options import catalog
from uwsgi_async.options.config.words import WORDS
from uwsgi_async.options.resolve import by_name

OURS = {"h"}  # the letters that mean something else here: -h is --help


@pytest.fixture(scope="module")
def printed() -> list[tuple[str, str]]:
    """(letter or "", name) of each option."""
    text = subprocess.run([binary(), "--help"], capture_output=True, text=True, timeout=20).stdout
    return re.findall(r"^\s+(?:-(.)\|)?--([\w-]+)", text, re.MULTILINE)


def test_each_name_is_known(printed: list[tuple[str, str]]) -> None:
    known = {*by_name(), *WORDS, *catalog.known(), "help", "version", "usage"}
    assert len(printed) > 900
    assert [name for _, name in printed if name not in known] == []


def test_each_letter_means_the_same(printed: list[tuple[str, str]]) -> None:
    for letter, name in printed:
        declared, known = by_name().get(letter), catalog.lookup(letter)
        if declared is not None:
            assert name in declared.flags or letter in OURS, (letter, name)
        elif known is not None and known.name == name:
            assert known.short == letter
