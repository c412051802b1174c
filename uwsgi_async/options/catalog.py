"""Every option of uWSGI 2.0.31 that is not declared here: what to say to a person who uses it.

What lives here: `lookup` and `families`, from catalog.toml. What does not: the options that are built (`settings`),
the words of the config language (`config.words`). The file is read when the first unknown name is looked up: a start
with built options alone does not pay for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Verdict = Literal["no meaning", "unsupported"]
Takes = Literal["none", "required", "optional"]

_MARKS: Mapping[str, Takes] = {"=": "required", "?": "optional"}


@dataclass(frozen=True, slots=True)
class KnownOption:
    """One option of uWSGI. ``takes``: whether it has a value.

    ``verdict``: "no meaning" is accepted and changes nothing, "unsupported" is refused. ``reason``: a sentence
    without its full stop; of an unsupported option it names what to use instead.
    """

    name: str
    takes: Takes
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Family:
    """Options with one verdict and one reason."""

    title: str
    verdict: Verdict
    reason: str
    options: tuple[KnownOption, ...]


@cache
def families() -> tuple[Family, ...]:
    """Return all families in the order of the file."""
    return tuple(
        Family(
            family["title"],
            family["verdict"],
            family["reason"],
            tuple(_option(family, word) for word in family["names"].split()),
        )
        for family in _data()["family"]
    )


@cache
def known() -> Mapping[str, KnownOption]:
    """Return every option of the catalog by its name."""
    return {option.name: option for family in families() for option in family.options}


def letters() -> Mapping[str, str]:
    """Return the name that each letter of the catalog stands for, on a command line."""
    found: Mapping[str, str] = _data()["short"]
    return found


def lookup(name: str) -> KnownOption | None:
    """Return what is known of an option of uWSGI that is not built, by its name without dashes."""
    return known().get(name)


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("catalog.toml").read_text("utf-8"))


def _option(family: Mapping[str, str], word: str) -> KnownOption:
    verdict: Verdict = "no meaning" if family["verdict"] == "no meaning" else "unsupported"
    return KnownOption(word.rstrip("=?"), _MARKS.get(word[-1], "none"), verdict, family["reason"])
