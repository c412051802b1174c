"""The catalog: every option of uWSGI is known once, with a verdict and a reason."""

from __future__ import annotations

from collections import Counter

import pytest

from uwsgi_async.options import catalog
from uwsgi_async.options.build import by_field
from uwsgi_async.options.config.words import SHORT, WORDS
from uwsgi_async.options.render import render_search

BUILT = {flag for declared in by_field().values() for flag in declared.flags}


def test_each_name_stands_once() -> None:
    names = Counter(option.name for family in catalog.families() for option in family.options)
    assert [name for name, count in names.items() if count > 1] == []


def test_what_is_built_is_not_said_to_be_missing() -> None:
    assert sorted(BUILT & set(catalog.known())) == []
    assert sorted((set(WORDS) | set(SHORT)) & set(catalog.known())) == []
    assert sorted(BUILT & (set(WORDS) | set(SHORT))) == []


def test_every_reason_is_a_sentence_without_its_full_stop() -> None:
    assert [family.reason for family in catalog.families() if not family.reason or family.reason.endswith(".")] == []


def test_an_unsupported_option_has_an_alternative_or_says_that_it_is_not_built() -> None:
    option = catalog.lookup("emperor")
    assert option is not None
    assert (option.verdict, option.takes) == ("unsupported", "required")
    assert "systemd" in option.reason
    assert catalog.lookup("no-such-option") is None


@pytest.mark.parametrize(
    ("names", "instead"),
    [
        (("cron", "cron2", "unique-cron"), "add_cron for a function of the app"),
        (("legion-cron", "unique-legion-cron"), "a scheduler that all machines share"),
    ],
)
def test_commands_by_the_clock_are_refused_with_what_to_use(names: tuple[str, ...], instead: str) -> None:
    for name in names:
        option = catalog.lookup(name)
        assert option is not None
        assert option.verdict == "unsupported"
        assert instead in option.reason


def test_the_search_finds_built_options_and_the_rest_of_uwsgis() -> None:
    text = render_search("harakiri")
    assert text.index("--harakiri, -t SECONDS") < text.index("--harakiri-verbose") < text.index("--mule-harakiri")
    assert "no option is about 'zebra'" in render_search("zebra")
